import CKinglet

/// The devices of this machine that models can be loaded on.
public struct Devices: Sendable {
    /// CPUs first.
    public let devices: [DeviceInfo]
    /// Why there are no others: one line per kind of device that is missing.
    public let missing: String

    /// Looks for devices. A missing driver or library is not an error.
    ///
    /// - Parameter openLibraries: opens the library for NVIDIA GPUs, if it is installed, to ask what there is. Without it only devices
    ///   that Kinglet's own library runs are listed.
    public init(openLibraries: Bool = true) throws(KingletError) {
        var c = kinglet_devices_options()
        c.struct_size = MemoryLayout<kinglet_devices_options>.size
        c.open_libraries = tristate(openLibraries)
        let list = try make(free: { kinglet_devices_free($0) }) { kinglet_devices_list(&c, $0, $1) }
        (devices, missing) = try list.use { (list) throws(KingletError) in
            var devices: [DeviceInfo] = []
            for i in 0..<kinglet_devices_count(list) {
                var c = kinglet_device_info()
                c.struct_size = MemoryLayout<kinglet_device_info>.size
                try check { kinglet_devices_info(list, i, &c, $0) }
                devices.append(
                    DeviceInfo(
                        device: Device(rawValue: c.device) ?? .cpu, index: Int(c.device_index), name: string(c.name),
                        memoryTotal: c.memory_total, memoryFree: c.memory_free))
            }
            return (devices, string(kinglet_devices_missing(list)))
        }
    }
}

/// A device that a model can be loaded on.
public struct DeviceInfo: Sendable, Hashable {
    /// Its kind, and its number among those of its kind.
    public let device: Device
    public let index: Int
    /// A name for people, for instance the model of the GPU.
    public let name: String
    /// Bytes of its memory; 0 if not known.
    public let memoryTotal: UInt64
    public let memoryFree: UInt64
}
