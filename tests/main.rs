//! What no single module can prove: judged by programs and by the kernel code that we did not write.

mod oracle;
mod support;
