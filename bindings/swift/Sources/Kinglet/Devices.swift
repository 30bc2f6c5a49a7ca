import CKinglet

/// A device that a model can be loaded on.
public struct DeviceInfo: Hashable, Sendable {
    /// Its kind.
    public let device: Device
    /// Its number among those of its kind, for ``ModelOptions/deviceIndex``.
    public let index: Int
    /// A name for people, for instance the model of the GPU.
    public let name: String
    /// Bytes of its memory; 0 if not known.
    public let memoryTotal: Int
    /// Bytes of its memory that are free; 0 if not known.
    public let memoryFree: Int
}

/// The devices of this machine.
public struct DeviceList: Hashable, Sendable {
    /// Those that this build can run models on, CPUs first.
    public let devices: [DeviceInfo]
    /// Why there are no others: one line for each kind that is missing.
    public let missing: String

    /// Finds the devices. A missing driver or library is no error.
    ///
    /// - Parameter openLibraries: Opens the library for NVIDIA GPUs, if it is installed, to ask what there is; the first time may take seconds.
    ///   False lists only the devices that the library runs by itself. Default: yes.
    public static func find(openLibraries: Bool? = nil) throws(KingletError) -> DeviceList {
        try Library.check()
        var options = kinglet_devices_options()
        options.struct_size = MemoryLayout<kinglet_devices_options>.size
        options.open_libraries = kinglet_tristate(openLibraries)
        let list = try Handle.make(free: kinglet_devices_free) { devices, failure in kinglet_devices_list(&options, devices, failure) }
        return try list.use { list throws(KingletError) in
            var devices: [DeviceInfo] = []
            for index in 0..<kinglet_devices_count(list) {
                var info = kinglet_device_info()
                info.struct_size = MemoryLayout<kinglet_device_info>.size
                try call { failure in kinglet_devices_info(list, index, &info, failure) }
                devices.append(
                    DeviceInfo(
                        device: Device(rawValue: info.device), index: Int(info.device_index), name: String(info.name),
                        memoryTotal: Int(info.memory_total), memoryFree: Int(info.memory_free)))
            }
            return DeviceList(devices: devices, missing: String(kinglet_devices_missing(list)))
        }
    }

    /// Finds the devices; ``find(openLibraries:)`` has the details.
    public static func find(openLibraries: Bool? = nil) async throws(KingletError) -> DeviceList {
        try await offCooperativePool { _ throws(KingletError) in try find(openLibraries: openLibraries) }
    }
}
