"""Pictures and pages: a study as one file to look at and listen to."""
