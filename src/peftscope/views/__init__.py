"""What people look at: tables now, figures and reports later."""
