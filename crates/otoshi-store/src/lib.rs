//! Otoshi's home directory: the image layout, snapshots, records, locks and garbage collection.
