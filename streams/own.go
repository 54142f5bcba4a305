package streams

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"

	"ringmaster/job"
)

// ModeOf is what is behind a caller's own client: "standalone" or "cluster". An ErrInvalid says why
// connections cannot be made as that one makes its own.
func ModeOf(client redis.UniversalClient) (string, error) {
	switch c := client.(type) {
	case *redis.Client:
		if c != nil {
			return "standalone", nil
		}
	case *redis.ClusterClient:
		switch {
		case c == nil:
		case c.Options().ClusterSlots != nil:
			return "", job.Invalid("own redis client: a ClusterClient that is told its slots, as NewFailoverClusterClient's, is not supported: want NewClient, NewFailoverClient or NewClusterClient")
		default:
			return "cluster", nil
		}
	default:
		return "", job.Invalid("own redis client: %T is not supported: want a *redis.Client or a *redis.ClusterClient", client)
	}
	return "", job.Invalid("own redis client: it is a nil %T", client)
}

// likeOwn has connections made as a caller's own client makes them: where to, with which dialer, TLS
// and credentials. The client itself is not used: it may repeat a command whose answer was lost, a
// blocked read would take a connection from its pool, and its time-outs are chosen for others. So the
// rest is as for a URL, and hooks of the client do not see our commands.
func likeOwn(uo *redis.UniversalOptions, client redis.UniversalClient) {
	switch c := client.(type) {
	case *redis.Client:
		o := c.Options()
		uo.Addrs, uo.DB = []string{o.Addr}, o.DB
		uo.Dialer, uo.OnConnect, uo.TLSConfig = o.Dialer, o.OnConnect, o.TLSConfig
		uo.Username, uo.Password, uo.CredentialsProvider = o.Username, o.Password, o.CredentialsProvider
		uo.CredentialsProviderContext, uo.StreamingCredentialsProvider = o.CredentialsProviderContext, o.StreamingCredentialsProvider
	case *redis.ClusterClient:
		o := c.Options()
		uo.Addrs, uo.IsClusterMode = slices.Clone(o.Addrs), true
		uo.Dialer, uo.OnConnect, uo.TLSConfig = o.Dialer, o.OnConnect, o.TLSConfig
		uo.Username, uo.Password, uo.CredentialsProvider = o.Username, o.Password, o.CredentialsProvider
		uo.CredentialsProviderContext, uo.StreamingCredentialsProvider = o.CredentialsProviderContext, o.StreamingCredentialsProvider
	}
	uo.CredentialsProviderContext = notDialled(uo.CredentialsProviderContext)
	if given := uo.StreamingCredentialsProvider; given != nil {
		uo.StreamingCredentialsProvider = streaming{given}
	}
	if on := uo.OnConnect; on != nil {
		uo.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
			return greeting(on(ctx, conn))
		}
	}
}

// ownPool is how many connections a caller's own client may have.
func ownPool(client redis.UniversalClient) int {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().PoolSize
	case *redis.ClusterClient:
		return c.Options().PoolSize
	}
	return 0
}

// streaming is notDialled for a provider that tells of new credentials.
type streaming struct {
	auth.StreamingCredentialsProvider
}

// Subscribe implements auth.StreamingCredentialsProvider.
func (s streaming) Subscribe(l auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	c, end, err := s.StreamingCredentialsProvider.Subscribe(l)
	if err != nil {
		err = dialError(err)
	}
	return c, end, err
}

type credentials = func(ctx context.Context) (user, password string, err error)

// notDialled has an error of a provider of credentials be that of a connection that was not made: no
// command was sent.
func notDialled(given credentials) credentials {
	if given == nil {
		return nil
	}
	return func(ctx context.Context) (string, string, error) {
		user, password, err := given(ctx)
		if err != nil {
			err = dialError(err)
		}
		return user, password, err
	}
}
