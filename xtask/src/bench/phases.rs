//! A project of four phases that each do little: its files.

pub(super) const BUILDER: &str = "ARG BASE\nFROM ${BASE}\nRUN echo builder > /etc/role\n";
pub(super) const RUNNER: &str = "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/role\n";
pub(super) const APP: &str = "ARG RUNNER\nFROM ${RUNNER} AS web\nCOPY . /app\nCMD [\"cat\", \"/app/sum\"]\n";
pub(super) const BIG: &str = "[project]\nname = \"big\"\n[bases]\nBASE = \"otoshi.test/debian:trixie-slim\"\n\
    [builder]\ndockerfile = \"builder.Dockerfile\"\n[compile]\nrun = \"cat src/*/* | sha256sum > sum\"\n\
    [runner]\ndockerfile = \"runner.Dockerfile\"\n[app]\ndockerfile = \"app.Dockerfile\"\n[processes.web]\n";
