package kinglet

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestDevices(t *testing.T) {
	list, err := ListDevices(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Devices) == 0 || list.Devices[0].Device != DeviceCPU || list.Devices[0].Name == "" || list.Devices[0].MemoryTotal == 0 {
		t.Fatalf("%+v", list)
	}
	// Every kind is listed, or it is said why not.
	for _, kind := range []Device{DeviceCUDA, DeviceMetal} {
		listed := false
		for _, info := range list.Devices {
			listed = listed || info.Device == kind
		}
		if explained := strings.Contains(list.Missing, kind.String()); listed == explained {
			t.Errorf("%v: listed %v, explained %v: %q", kind, listed, explained, list.Missing)
		}
	}
	builtIn, err := ListDevices(&DevicesOptions{OpenLibraries: TristateNo})
	if err != nil || len(builtIn.Devices) == 0 || !strings.Contains(builtIn.Missing, "not to be opened") {
		t.Errorf("without opening libraries: %+v, %v", builtIn, err)
	}
	for _, index := range []int{1, -1} {
		if _, err := Load(context.Background(), fixture("bert"), &LoadOptions{DeviceIndex: index}); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("DeviceIndex %d: %v", index, err)
		}
	}
	model := load(t, "bert", nil)
	if p := model.Properties(); p.DeviceIndex != 0 {
		t.Errorf("%+v", p)
	}
	if use, err := model.MemoryUse(); err != nil || use.DeviceBytes != 0 {
		t.Errorf("%+v, %v", use, err)
	}
	if c, err := model.Counters(); err != nil || c.Stages[StageTransfer].Calls != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}
