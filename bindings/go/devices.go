package kinglet

// #include <kinglet.h>
import "C"

import "unsafe"

// DeviceInfo is a device that a model can be loaded on.
type DeviceInfo struct {
	// Device is its kind, and Index its number among those of that kind.
	Device Device
	Index  int
	Name   string
	// MemoryTotal is the bytes of its memory, and MemoryFree those that nobody uses; 0 where that is not known.
	MemoryTotal, MemoryFree uint64
}

// DeviceList is what [ListDevices] finds.
type DeviceList struct {
	// Devices of this machine that this build can run models on, CPUs first.
	Devices []DeviceInfo
	// Missing says why there are no others: a line for each kind of device that is missing.
	Missing string
}

// ListDevices looks for devices. A kind whose driver or library is missing is no failure. The first call opens the library for NVIDIA's
// GPUs, if it is there, which may take seconds.
func ListDevices() (DeviceList, error) {
	var failure *C.kinglet_error
	var devices *C.kinglet_devices
	if err := result(C.kinglet_device_list(&devices, &failure), &failure); err != nil {
		return DeviceList{}, err
	}
	defer C.kinglet_devices_free(devices)
	var view C.kinglet_devices_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	if err := result(C.kinglet_devices_read(devices, &view, &failure), &failure); err != nil {
		return DeviceList{}, err
	}
	list := DeviceList{Missing: string(bytesOf(view.missing))}
	for _, info := range unsafe.Slice(view.devices, int(view.count)) {
		list.Devices = append(list.Devices, DeviceInfo{
			Device:      Device(info.device),
			Index:       int(info.index),
			Name:        string(bytesOf(info.name)),
			MemoryTotal: uint64(info.memory_total),
			MemoryFree:  uint64(info.memory_free),
		})
	}
	return list, nil
}
