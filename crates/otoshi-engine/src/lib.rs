//! The engine that builds Dockerfiles and runs commands in images.
