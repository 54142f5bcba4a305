package service

import (
	"github.com/redis/go-redis/v9"

	"ringmaster/configs"
	"ringmaster/job"
	"ringmaster/streams"
)

// Open prepares the connection that a configuration names.
func Open(c configs.Common, program string) (*streams.Store, error) { return OpenLike(nil, c, program) }

// OpenLike is Open with connections as a caller's own client makes its own, unless that is nil.
func OpenLike(own redis.UniversalClient, c configs.Common, program string) (*streams.Store, error) {
	if own != nil {
		return streams.Open(streams.Options{Client: own, Namespace: c.Namespace, ClientName: program, Durability: c.Durability})
	}
	e, err := c.Endpoint()
	if err != nil {
		return nil, err
	}
	o := streams.Options{Addrs: e.Addrs, Mode: e.Mode, Username: e.Username, Password: string(e.Password), DB: e.DB,
		Master: e.Master, Namespace: c.Namespace, ClientName: program, Durability: c.Durability}
	o.Credentials = c.Credentials()
	o.SentinelUsername, o.SentinelPassword = c.SentinelUsername, string(c.SentinelPassword)
	if e.TLS {
		if o.TLS, err = c.TLS.Config(); err != nil {
			return nil, job.Invalid("%v", err)
		}
	}
	return streams.Open(o)
}
