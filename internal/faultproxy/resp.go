package faultproxy

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
)

// maxBulk bounds one string, as the server does.
const maxBulk = 512 << 20

// readMessage reads one whole RESP2 or RESP3 value and returns its bytes.
func readMessage(r *bufio.Reader) ([]byte, error) {
	return appendMessage(nil, r)
}

func appendMessage(buf []byte, r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	buf = append(buf, line...)
	if len(line) < 3 {
		return nil, fmt.Errorf("not RESP: %q", line)
	}
	switch line[0] {
	case '+', '-', ':', '_', ',', '#', '(':
		return buf, nil
	}
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err != nil || n > maxBulk {
		return nil, fmt.Errorf("not RESP: %q", line)
	}
	switch line[0] {
	case '$', '=', '!':
		if n < 0 {
			return buf, nil
		}
		start := len(buf)
		buf = append(buf, make([]byte, n+2)...)
		_, err := io.ReadFull(r, buf[start:])
		return buf, err
	case '*', '~', '>':
	case '%':
		n *= 2
	case '|': // attributes come before the value they belong to
		n = n*2 + 1
	default:
		return nil, fmt.Errorf("not RESP: %q", line)
	}
	for range max(n, 0) {
		if buf, err = appendMessage(buf, r); err != nil {
			return nil, err
		}
	}
	return buf, nil
}
