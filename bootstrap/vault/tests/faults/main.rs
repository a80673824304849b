//! What goes wrong on the way, by a server that does as it is told; and that no secret gets into what is said of it.

mod answers;
mod life;
mod standin;
mod trust;
