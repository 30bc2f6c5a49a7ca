// The devices that models can be loaded on.

#ifndef KINGLET_DEVICES_HPP
#define KINGLET_DEVICES_HPP

#include "options.hpp"
#include "result.hpp"
#include "results.hpp"

#include <kinglet.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kinglet {
inline namespace KINGLET_FORM {
namespace detail {

using DevicesHolder = Holder<kinglet_devices, kinglet_devices_view, kinglet_devices_read, kinglet_devices_free>;

} // namespace detail

// A device. The name is lent by the list.
struct DeviceInfo {
    Device device = Device::Cpu;
    // Its number among those of its kind: ModelOptions::device_index.
    std::uint32_t index = 0;
    std::string_view name{};
    // Bytes of its memory, and those that nobody uses; 0 where that is not known.
    std::uint64_t memory_total = 0;
    std::uint64_t memory_free = 0;
};

// The devices of this machine that this build can run models on, CPUs first. Const members: any thread.
class Devices : public detail::DevicesHolder {
public:
    std::size_t size() const noexcept { return view().count; }

    DeviceInfo operator[](std::size_t i) const noexcept {
        const kinglet_device_info &info = view().devices[i];
        return {static_cast<Device>(info.device), info.index, detail::to_cpp(info.name), info.memory_total, info.memory_free};
    }

    // Why there are no others: a line for each kind of device that is missing.
    std::string_view missing() const noexcept { return detail::to_cpp(view().missing); }

private:
    using Holder::Holder;
    friend Holder;
};

// Looks for devices. A kind whose driver or library is missing is no failure. The first call opens the library for NVIDIA's GPUs, if it
// is there, which may take seconds. Any thread.
inline Result<Devices> try_devices() noexcept {
    return detail::make<Devices, kinglet_devices>(
        [](kinglet_devices **made, kinglet_error **error) { return kinglet_device_list(made, error); });
}

#if KINGLET_EXCEPTIONS
inline Devices devices() { return try_devices().value(); }
#endif

} // namespace KINGLET_FORM
} // namespace kinglet

#endif
