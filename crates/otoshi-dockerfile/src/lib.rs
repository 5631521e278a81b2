//! Dockerfile and .dockerignore as typed instructions, with ARG scopes, expansion and the stage graph.
