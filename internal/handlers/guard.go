package handlers

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// A command ends with its worker on Linux, whatever ends that one. What the command has started does
// not, and would run on beside the job's next run. So a shell stands by that has been told which
// process groups there are, and kills them when its input ends, which this process alone holds open.
const guardScript = `
trap '' HUP INT TERM
groups=
while read -r what group; do
	left=
	for g in $groups; do [ "$g" = "$group" ] || left="$left $g"; done
	groups=$left
	[ "$what" = - ] || groups="$groups $group"
done
for g in $groups; do kill -s KILL -- "-$g"; done
`

// guardPatience is for a shell that has been stopped: no job waits for it.
const guardPatience = 100 * time.Millisecond

// guard is that shell, from the first command on. Where there is none, nobody stands by. Its methods
// are safe for concurrent use.
type guard struct {
	mu     sync.Mutex
	groups map[int]struct{} // of the commands that run
	shell  *exec.Cmd
	tell   *os.File // to the shell; nil: there is none
}

// ready starts the shell, unless it stands by: before a command, for what the command starts first is
// not to be missed. Between the command's own start and watch lie microseconds; what it starts in
// these, and then outlives a worker that is killed in these, is left.
func (g *guard) ready() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tell == nil {
		g.start()
	}
}

// watch has the group of a command killed when this process ends, until release.
func (g *guard) watch(group int) (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.groups == nil {
		g.groups = make(map[int]struct{})
	}
	g.groups[group] = struct{}{}
	g.say("+", group)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.groups, group)
		g.say("-", group)
	}
}

func (g *guard) say(what string, group int) {
	if g.tell == nil {
		return
	}
	_ = g.tell.SetWriteDeadline(time.Now().Add(guardPatience))
	if _, err := g.tell.WriteString(what + " " + strconv.Itoa(group) + "\n"); err != nil {
		// It has died, or does not read: another one with the next command. One that was stopped would
		// kill what runs once it goes on, and finds its input ended.
		_ = g.shell.Process.Kill()
		_ = g.tell.Close()
		_ = g.shell.Wait()
		g.shell, g.tell = nil, nil
	}
}

// start leaves tell nil if there is no shell. The shell is told what runs; it ends with this process,
// and nobody waits for it.
func (g *guard) start() {
	in, tell, err := os.Pipe()
	if err != nil {
		return
	}
	defer in.Close()
	cmd := exec.CommandContext(context.Background(), "sh", "-c", guardScript)
	cmd.Stdin = in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if cmd.Start() != nil {
		_ = tell.Close()
		return
	}
	g.shell, g.tell = cmd, tell
	for group := range g.groups {
		g.say("+", group)
	}
}
