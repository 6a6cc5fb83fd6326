"""Studies: check, run, status, results, recommendation, report, trained models; all that a front end needs."""
