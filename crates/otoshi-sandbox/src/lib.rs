//! Runs one command in Linux namespaces, as a container build or run step.
