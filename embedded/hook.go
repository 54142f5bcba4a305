package embedded

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
)

// before sees every command first, those that scripts call included (their
// peer is unknown to the registry). It reports whether the command is done.
func (s *Store) before(peer *server.Peer, cmd string, args ...string) bool {
	if cmd == announce && len(args) == 1 && s.clients.announced(args[0], peer) {
		return true
	}
	c := s.clients.get(peer)
	if c != nil && c.isKilled() {
		peer.Close()
		return true
	}
	if c != nil { // within a script the store is locked, and no time passes
		s.runDown()
	}
	if endsTooEarly(cmd, args) {
		peer.WriteError(fmt.Sprintf("ERR wrong number of arguments for '%s' command", strings.ToLower(cmd)))
		return true
	}
	sub := ""
	if len(args) > 0 {
		sub = strings.ToUpper(args[0])
	}
	switch cmd {
	case "COMMAND":
		if sub == "DOCS" { // an interactive redis-cli aborts on anything else
			peer.WriteMapLen(0)
			return true
		}
	case "CONFIG":
		if sub == "GET" {
			peer.WriteMapLen(0)
			return true
		}
	case "CLIENT":
		if c != nil {
			return s.client(c, sub, args)
		}
	}
	return false
}

// client answers CLIENT ID and CLIENT KILL ID n [SKIPME yes|no] as a real
// server does, except that inside MULTI they are answered at once.
func (s *Store) client(c *client, sub string, args []string) bool {
	if sub == "ID" && len(args) == 1 {
		c.peer.WriteInt(c.id)
		return true
	}
	if sub != "KILL" || (len(args) != 3 && len(args) != 5) || !strings.EqualFold(args[1], "ID") {
		return false
	}
	skipMe := true
	if len(args) == 5 {
		if !strings.EqualFold(args[3], "SKIPME") {
			return false
		}
		skipMe = !strings.EqualFold(args[4], "no")
	}
	id, err := strconv.Atoi(args[2])
	switch {
	case err != nil || id <= 0:
		c.peer.WriteError("ERR client-id should be greater than 0")
	case id != c.id && s.clients.kill(id, c):
		c.peer.WriteInt(1)
	case id == c.id && !skipMe:
		c.peer.WriteInt(1)
		c.peer.Close() // after the reply
	default:
		c.peer.WriteInt(0)
	}
	return true
}

// endsTooEarly finds the commands whose last option lacks its value. The
// server would read past their end, which nothing can recover from.
func endsTooEarly(cmd string, args []string) bool {
	switch cmd {
	case "XADD":
		return len(args) > 1 && trimEndsTooEarly(args[1:])
	case "XTRIM":
		return len(args) > 1 && trimEndsTooEarly(args[1:])
	case "XCLAIM":
		if len(args) < 6 {
			return false
		}
		switch strings.ToUpper(args[len(args)-1]) {
		case "IDLE", "TIME", "RETRYCOUNT", "LASTID":
			return true
		}
	}
	return false
}

// trimEndsTooEarly follows the options in front of an XADD's id, or of an
// XTRIM. What comes after them is data and may look like anything.
func trimEndsTooEarly(args []string) bool {
	if len(args) > 0 && strings.EqualFold(args[0], "NOMKSTREAM") {
		args = args[1:]
	}
	if len(args) == 0 {
		return true
	}
	if !strings.EqualFold(args[0], "MAXLEN") && !strings.EqualFold(args[0], "MINID") {
		return false
	}
	args = args[1:]
	if len(args) > 0 && (args[0] == "~" || args[0] == "=") {
		args = args[1:]
	}
	return len(args) == 0
}
