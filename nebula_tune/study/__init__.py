"""The coordinator of a study, its ledger, its executors and its settings."""

DEFAULT_URL = "sqlite:///studies/nebula-tune.db"
