//! backend-fs
