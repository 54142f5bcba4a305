package configs

import (
	"github.com/spf13/pflag"
)

// RegisterDispatcherFlags adds --config and a flag for each key of a dispatcher. Values
// are checked by LoadDispatcher, together with those of the other layers.
func RegisterDispatcherFlags(fs *pflag.FlagSet) {
	d := DefaultDispatcher()
	register(fs, d.fields())
}

// RegisterWorkerFlags is RegisterDispatcherFlags for a worker.
func RegisterWorkerFlags(fs *pflag.FlagSet) {
	w := DefaultWorker()
	register(fs, w.fields())
}

// RegisterRingctlFlags is RegisterDispatcherFlags for ringctl.
func RegisterRingctlFlags(fs *pflag.FlagSet) {
	r := DefaultRingctl()
	register(fs, r.fields())
}

func register(fs *pflag.FlagSet, fields []field) {
	fs.String("config", "", "file with settings; without it none is read")
	for _, f := range fields {
		if f.secret {
			continue
		}
		flag := fs.VarPF(&rawFlag{kind: f.kind, list: f.list, text: f.show()}, f.flagName(), f.short, f.help)
		if f.kind == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
}

// rawFlag keeps what was typed. It is judged later, by the rules for all layers.
type rawFlag struct {
	kind string
	list bool
	set  bool
	text string
}

// String implements pflag.Value.
func (r *rawFlag) String() string { return r.text }

// Type implements pflag.Value. It is none of the names by which viper converts, but
// "bool", which Set has checked.
func (r *rawFlag) Type() string { return r.kind }

// Set implements pflag.Value. A list's flag adds to what was typed before.
func (r *rawFlag) Set(s string) error {
	if r.kind == "bool" {
		if _, err := parseBool(s); err != nil {
			return err
		}
	}
	if r.list && r.set {
		s = r.text + "," + s
	}
	r.text, r.set = s, true
	return nil
}
