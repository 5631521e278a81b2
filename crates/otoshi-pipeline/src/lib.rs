//! The plan, the phase keys and records, and the four phases.
