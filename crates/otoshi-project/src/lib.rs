//! otoshi.toml, otoshi.lock, Procfile, versions and roles.
