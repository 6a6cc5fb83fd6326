"""The report: one HTML file of a study, its main figures as pictures, its tables as files."""
