package service

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// Quiet stops go-redis from printing every failed dial to stderr by itself: the services
// log what matters. It changes the whole process; a program calls it first of all.
func Quiet() { GoRedisTo(nil) }

// GoRedisTo has go-redis write its lines to a logger, at level debug, or nowhere: what matters of them
// comes as errors too. go-redis has one logger for the process, for everybody's clients: whoever asked last has it.
func GoRedisTo(log *slog.Logger) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	redis.SetLogger(goRedis{Guard(log)})
}

type goRedis struct{ log *slog.Logger }

// Printf implements go-redis's interface of a logger.
func (g goRedis) Printf(ctx context.Context, format string, args ...any) {
	if g.log.Enabled(ctx, slog.LevelDebug) {
		g.log.Debug("go-redis", "says", fmt.Sprintf(format, args...))
	}
}
