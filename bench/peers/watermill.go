package main

import (
	"context"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	goredis "github.com/redis/go-redis/v9"
)

// openWatermill has one subscription for each handler, as each of them takes one message
// at a time, and a connection for each of them and of the producers. A batch would be
// sent one by one. What is acknowledged stays in the stream.
func openWatermill(ctx context.Context, at string) (system, error) {
	const topic = "jobs"
	load := newLoad()
	client := goredis.NewClient(&goredis.Options{Addr: at, PoolSize: concurrency + askers + 8})
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	if err != nil {
		return system{}, err
	}
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: client, ConsumerGroup: "g"}, nil)
	if err != nil {
		return system{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range concurrency {
		messages, err := subscriber.Subscribe(ctx, topic)
		if err != nil {
			cancel()
			all.Wait()
			return system{}, err
		}
		all.Go(func() {
			for m := range messages {
				load.ran()
				m.Ack()
			}
		})
	}
	body := payload()
	submit := func(context.Context, int) error {
		return publisher.Publish(topic, message.NewMessage(watermill.NewUUID(), body))
	}
	return system{
		move: func(_ context.Context, jobs int) error { return load.move(ctx, jobs, askers, 1, submit) },
		close: func() {
			cancel()
			_ = subscriber.Close() // with the client, which the publisher has too
			all.Wait()
		},
	}, nil
}
