//! Weights and limits of block devices (`blkio_config`).
//!
//! They only slow a replica down, and name devices without opening them: nothing here leads out of a container.

/// Weights and limits; none where empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BlockIo {
    /// Share of the time of all devices, 10 to 1000.
    pub weight: Option<u16>,
    /// The same for single devices.
    pub weights: Vec<DeviceWeight>,
    /// Bytes per second that are read.
    pub read_bytes: Vec<DeviceRate>,
    /// Bytes per second that are written.
    pub write_bytes: Vec<DeviceRate>,
    /// Reads per second.
    pub read_operations: Vec<DeviceRate>,
    /// Writes per second.
    pub write_operations: Vec<DeviceRate>,
}

/// A device's share of time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceWeight {
    /// The device on the engine's host (`/dev/sda`).
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A device's limit per second.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceRate {
    /// The device on the engine's host (`/dev/sda`).
    pub path: String,
    /// Bytes, or operations.
    pub rate: i64,
}
