//! A second opinion from programs we did not write.

mod press;
mod releases;
