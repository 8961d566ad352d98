//! Containers of a real Docker Engine.
