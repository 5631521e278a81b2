//! References, digests, manifests, configs, layers and the OCI image layout store.
