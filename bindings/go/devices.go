package kinglet

// #include "library.h"
import "C"

import "unsafe"

// DeviceInfo is a device that a model can be loaded on.
type DeviceInfo struct {
	// Device is its kind, and Index its number among those of that kind.
	Device Device
	Index  int
	Name   string
	// MemoryTotal and MemoryFree are bytes; 0 if not known.
	MemoryTotal, MemoryFree uint64
}

// DeviceList is the result of [ListDevices].
type DeviceList struct {
	// Devices of this machine that this build can run models on, CPUs first.
	Devices []DeviceInfo
	// Missing says why there are no others: one line per kind of device that is missing.
	Missing string
}

// DevicesOptions are options of [ListDevices]. The zero value is the default.
type DevicesOptions struct {
	// OpenLibraries says whether the library for NVIDIA GPUs is opened, if it is installed, to ask what there is. TristateAuto: yes.
	// TristateNo: only devices that Kinglet's own library runs are listed.
	OpenLibraries Tristate
}

// ListDevices looks for devices. options may be nil. A missing driver or library is not an error. The first call that opens the library
// for NVIDIA GPUs may take seconds.
func ListDevices(options *DevicesOptions) (DeviceList, error) {
	var failure *C.kinglet_error
	var devices *C.kinglet_devices
	var c C.kinglet_devices_options
	c.struct_size = C.size_t(unsafe.Sizeof(c))
	if options != nil {
		c.open_libraries = C.kinglet_tristate(options.OpenLibraries)
	}
	if err := result(C.kinglet_devices_list(&c, &devices, &failure), &failure); err != nil {
		return DeviceList{}, err
	}
	defer C.kinglet_devices_free(devices)
	list := DeviceList{Missing: string(bytesOf(C.kinglet_devices_missing(devices)))}
	var info C.kinglet_device_info
	info.struct_size = C.size_t(unsafe.Sizeof(info))
	for i := range C.kinglet_devices_count(devices) {
		if err := result(C.kinglet_devices_info(devices, i, &info, &failure), &failure); err != nil {
			return DeviceList{}, err
		}
		list.Devices = append(list.Devices, DeviceInfo{
			Device:      Device(info.device),
			Index:       int(info.device_index),
			Name:        string(bytesOf(info.name)),
			MemoryTotal: uint64(info.memory_total),
			MemoryFree:  uint64(info.memory_free),
		})
	}
	return list, nil
}
