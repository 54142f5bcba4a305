package resize

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func messages() []Message {
	return []Message{
		{Type: TypeSync, Name: Master, Phase: 1, Epoch: 42, Term: 7, Parts: []int{4, 9}, Mode: ModePartition, Part: -1, Dispatcher: "d1"},
		{Type: TypeSync, Name: Master, Phase: 2, Epoch: 42, Part: 4, PartEpoch: 18, SyncTo: map[int]string{4: "175-3"},
			Members: []string{"a.1", "b.2"}, From: "a.1", Draining: []string{"174-0"}, Change: 3},
		{Type: TypeSync, Name: Master, Phase: 2, Epoch: 42, Part: -1, SyncTo: map[int]string{0: "1-0", 1: "0-0"}},
		{Type: TypeSync, Name: Master, Phase: 3, Epoch: 1<<64 - 1, Part: -1},
		{Type: TypeDrained, Name: Master, Part: 0, PartEpoch: 18, ID: "174-0", Change: 7},
		{Type: TypeUndrained, Name: Master, Part: 4095, PartEpoch: 1, ID: "0-1"},
		{Type: TypeJoin, Name: "w1.x", Part: -1},
		{Type: TypeRequest, Name: "ringctl", Part: -1, Mode: ModeRing, ID: "r1"},
		{Type: TypePoke, Part: -1},
	}
}

func TestMessagesSurviveTheWire(t *testing.T) {
	for _, m := range messages() {
		got, err := Decode(m.Fields())
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s comes back as %+v, %v\nfields %v", m, got, err, m.Fields())
		}
	}
}

func sync1(change map[string]string) map[string]string {
	f := map[string]string{
		"type": "sync", "name": "Master", "phase": "1", "epoch": "42", "term": "7", "data": `{"parts":[1]}`,
	}
	for k, v := range change {
		f[k] = v
	}
	return f
}

func TestDecodeToleratesWhatScriptsWrite(t *testing.T) {
	for _, data := range []string{
		"", `{}`, `{"parts":{}}`, `{"parts":[]}`, `{"epoch":"42","parts":[1],"later":"field"}`, `{"change":7}`, `{"sync_to":[]}`,
	} {
		if _, err := Decode(sync1(map[string]string{"data": data})); err != nil {
			t.Errorf("data %s: %v", data, err)
		}
	}
}

func TestDecodeRefusesGarbage(t *testing.T) {
	var many strings.Builder
	for range maxMembers + 1 {
		many.WriteString(`"m",`)
	}
	for _, change := range []map[string]string{
		{"epoch": "-1"}, {"epoch": "abc"}, {"epoch": "18446744073709551616"}, {"epoch": "042"}, {"epoch": " 4"}, {"epoch": ""},
		{"term": "1e3"}, {"phase": "0"}, {"phase": "4"}, {"phase": "11"}, {"phase": ""}, {"phase": "x"},
		{"name": "w1.a"}, {"name": strings.Repeat("n", 300)},
		{"data": `{`}, {"data": `[]`}, {"data": `{"parts":[4096]}`}, {"data": `{"parts":[-1]}`}, {"data": `{"parts":"1"}`},
		{"data": `{"epoch":"43"}`}, {"data": `{"mode":"fast"}`}, {"data": `{"part":-1}`}, {"data": `{"change":"-1"}`},
		{"data": `{"change":1e3}`}, {"data": `{"sync_to":{"x":"1-0"}}`}, {"data": `{"sync_to":{"1":"1"}}`},
		{"data": `{"draining":["1-0","no"]}`}, {"data": `{"members":[` + many.String() + `"m"]}`},
		{"phase": "2", "data": `{"part":1}`}, {"phase": "2", "data": `{"part_epoch":"1"}`},
		{"type": "drained", "phase": ""}, {"type": "undrained", "phase": "", "data": `{"part":1,"part_epoch":"2","id":"x"}`},
		{"type": "join", "phase": "", "name": ""}, {"type": "drained", "data": `{"part":1,"part_epoch":"2","id":"1-0"}`},
		{"data": strings.Repeat(" ", maxData+1)},
	} {
		m, err := Decode(sync1(change))
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%.80v is read as %s, %v", change, m, err)
		} else if len(err.Error()) > 200 {
			t.Errorf("the error repeats the garbage: %d bytes", len(err.Error()))
		}
	}
	for _, typ := range []string{"", "Sync", "sync ", "flip"} {
		if _, err := Decode(sync1(map[string]string{"type": typ})); !errors.Is(err, ErrUnknownType) {
			t.Errorf("type %q: %v", typ, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range messages() {
		x := m.Fields()
		f.Add(x["type"], x["name"], x["phase"], x["epoch"], x["term"], x["data"])
	}
	f.Fuzz(func(t *testing.T, typ, name, phase, epoch, term, data string) {
		m, err := Decode(map[string]string{
			"type": typ, "name": name, "phase": phase, "epoch": epoch, "term": term, "data": data,
		})
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownType) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		again, err := Decode(m.Fields())
		if err != nil {
			t.Fatalf("%+v does not come back: %v", m, err)
		}
		if fmt.Sprint(again) != fmt.Sprint(m) {
			t.Fatalf("%+v comes back as %+v", m, again)
		}
		p := NewParticipant()
		for _, ev := range []ParticipantEvent{Joined{Incarnation: "w.1"}, MessageReceived{m}, MessageReceived{again}} {
			if _, err := p.Step(ev); err != nil {
				t.Fatal(err)
			}
			if err := p.CheckInvariants(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
