//! A window on a device: a partition sees itself from byte 0 and cannot reach its neighbours.

use super::device::{Device, Error, ReadAt};

/// `len_bytes` bytes of a device from `start` on, numbered from 0.
#[derive(Clone, Copy, Debug)]
pub struct Slice<D> {
    device: D,
    start: u64,
    len_bytes: u64,
}

impl<'d, D: ReadAt + ?Sized> Slice<&'d D> {
    /// Opens the window.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when the window leaves the device.
    pub fn new(device: &'d D, start: u64, len_bytes: u64) -> Result<Self, Error> {
        let device_len = device.len_bytes();
        match start.checked_add(len_bytes) {
            Some(end) if end <= device_len => Ok(Self { device, start, len_bytes }),
            _ => Err(Error::OutOfBounds { offset: start, len: len_bytes, device_len }),
        }
    }
}

impl<D: ReadAt + ?Sized> ReadAt for Slice<&D> {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        Error::check_bounds(offset, buf.len(), self.len_bytes)?;
        self.device.read_at(self.start + offset, buf)
    }
}

impl<D: Device + ?Sized> Device for Slice<&D> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        Error::check_bounds(offset, bytes.len(), self.len_bytes)?;
        self.device.write_at(self.start + offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    #[test]
    fn a_slice_numbers_from_zero_and_ends_where_it_ends() {
        let device = Memory::new((0..16).collect());
        let slice = Slice::new(&device, 4, 4).unwrap();
        let mut two = [0; 2];
        slice.read_at(2, &mut two).unwrap();
        assert_eq!(two, [6, 7]);
        assert!(matches!(slice.read_at(3, &mut two), Err(Error::OutOfBounds { offset: 3, .. })));
        assert!(matches!(slice.write_at(u64::MAX, &two), Err(Error::OutOfBounds { .. })));
        slice.write_at(0, &[9]).unwrap();
        assert_eq!(device.into_bytes()[4], 9);
    }

    #[test]
    fn a_slice_past_the_device_is_refused() {
        let device = Memory::new(vec![0; 16]);
        assert!(Slice::new(&device, 8, 8).is_ok());
        assert!(Slice::new(&device, 8, 9).is_err());
        assert!(Slice::new(&device, u64::MAX, 2).is_err());
    }
}
