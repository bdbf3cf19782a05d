"""The worker: everything that runs. Import direction: docs/architecture.md."""
