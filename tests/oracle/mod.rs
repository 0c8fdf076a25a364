//! A second opinion from programs we did not write.

mod grow;
mod press;
