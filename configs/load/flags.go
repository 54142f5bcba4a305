package load

import (
	"errors"

	"github.com/spf13/pflag"

	"ringmaster/configs"
)

// RegisterDispatcherFlags adds --config and a flag for each key of a dispatcher. Values
// are checked by Dispatcher, together with those of the other layers.
func RegisterDispatcherFlags(fs *pflag.FlagSet) {
	d := configs.DefaultDispatcher()
	register(fs, d.Fields())
}

// RegisterWorkerFlags is RegisterDispatcherFlags for a worker.
func RegisterWorkerFlags(fs *pflag.FlagSet) {
	w := configs.DefaultWorker()
	register(fs, w.Fields())
}

// RegisterRingctlFlags is RegisterDispatcherFlags for ringctl.
func RegisterRingctlFlags(fs *pflag.FlagSet) {
	r := configs.DefaultRingctl()
	register(fs, r.Fields())
}

func register(fs *pflag.FlagSet, fields []configs.Field) {
	fs.String("config", "", "file with settings; without it none is read")
	for _, f := range fields {
		if f.Secret {
			continue
		}
		flag := fs.VarPF(&rawFlag{kind: f.Kind, list: f.List, text: f.Show()}, f.FlagName(), f.Short, f.Help)
		if f.Kind == "bool" {
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
		if s != "true" && s != "false" {
			return errors.New("want true or false")
		}
	}
	if r.list && r.set {
		s = r.text + "," + s
	}
	r.text, r.set = s, true
	return nil
}
