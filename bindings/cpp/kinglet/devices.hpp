// The devices that models can be loaded on.

#ifndef KINGLET_DEVICES_HPP
#define KINGLET_DEVICES_HPP

#include "result.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kinglet {
inline namespace KINGLET_FORM {

/// A device. The name is valid as long as the list.
struct DeviceInfo {
    Device device = Device::Cpu;
    /// ModelOptions::device_index.
    std::uint32_t device_index = 0;
    std::string_view name{};
    /// Bytes; 0 if not known.
    std::uint64_t memory_total = 0;
    std::uint64_t memory_free = 0;
};

/// The devices of this machine that this build can run models on, CPUs first. Const members: any thread.
class Devices : public detail::Owner<kinglet_devices, kinglet_devices_free>, public detail::Indexed<Devices> {
public:
    std::size_t size() const noexcept { return kinglet_devices_count(get()); }

    DeviceInfo operator[](std::size_t i) const noexcept {
        kinglet_device_info c{};
        c.struct_size = sizeof c;
        (void)kinglet_devices_info(get(), i, &c, nullptr);
        return {static_cast<Device>(c.device), c.device_index, detail::to_cpp(c.name), c.memory_total, c.memory_free};
    }

    /// Why other kinds of device are missing: one line per kind.
    std::string_view missing() const noexcept { return detail::to_cpp(kinglet_devices_missing(get())); }

private:
    using Owner::Owner;
    friend Owner;
};

/// Options of devices().
struct DevicesOptions {
    /// Whether the library for NVIDIA GPUs is opened, if it is installed, to ask what there is. Without it only devices that Kinglet's
    /// own library runs are listed.
    bool open_libraries = true;
};

/// Looks for devices. A missing driver or library is not an error. The first call that opens the library for NVIDIA GPUs may take
/// seconds. Any thread.
inline Result<Devices> devices(const DevicesOptions &options = {}) noexcept {
    kinglet_devices_options c{};
    c.struct_size = sizeof c;
    c.open_libraries = options.open_libraries ? KINGLET_TRISTATE_YES : KINGLET_TRISTATE_NO;
    return detail::make<Devices, kinglet_devices>(
        [&c](kinglet_devices **made, kinglet_error **error) { return kinglet_devices_list(&c, made, error); });
}

} // namespace KINGLET_FORM
} // namespace kinglet

#endif
