package dispatch

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
)

// guard stands before every route: headers of all answers, paths with only one reading,
// the Host, the origin of writes, and the token, in this order.
func guard(o HTTPOptions, next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, problem{Type: "forbidden", Status: http.StatusForbidden, Detail: "a page of another origin may not change anything here"})
	}))
	next = origins.Handler(requireToken(o.Token, next))
	hosts := allowedHosts(o.Listen)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cache-Control", "no-store")
		head.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if hosts != nil && !hosts[hostOf(r.Host)] {
			writeProblem(w, problem{Type: "forbidden", Status: http.StatusForbidden,
				Detail: "the Host header names another machine: this server is local, use 127.0.0.1 or localhost"})
			return
		}
		if !plainPath(r.URL.EscapedPath()) {
			notFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// plainPath reports whether a path can be read in one way only; others would be
// redirected, and a redirected POST loses its body.
func plainPath(p string) bool {
	if !strings.HasPrefix(p, "/") || strings.Contains(p, "//") {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "." || part == ".." {
			return false
		}
	}
	return true
}

// allowedHosts are the names a request to a loopback listener may use; nil: any name.
// A page of a hostile site whose name is made to resolve to 127.0.0.1 sends its own.
func allowedHosts(listen string) map[string]bool {
	host := hostOf(listen)
	if host != "" && host != "localhost" {
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return nil
		}
	}
	hosts := map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}
	if host != "" {
		hosts[host] = true
	}
	return hosts
}

// hostOf is the host of host:port, or of a host alone, in lower case and without brackets.
func hostOf(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
}

// requireToken lets only requests with the token pass; "" asks for none. Hashes are
// compared, in constant time, so that neither content nor length leaks.
func requireToken(token string, next http.Handler) http.Handler {
	if token == "" {
		return next
	}
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/livez" || r.URL.Path == "/readyz" {
			next.ServeHTTP(w, r)
			return
		}
		got, why := bearer(r)
		sum := sha256.Sum256([]byte(got))
		if why == "" && subtle.ConstantTimeCompare(sum[:], want[:]) != 1 {
			why = "the token is not the right one"
		}
		if why == "" {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="ringmaster"`)
		if r.URL.Path == "/" {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte("This dispatcher asks for a token, and " + why + ".\n\n" +
				"Send it as a header:  curl -H \"Authorization: Bearer $RINGMASTER_TOKEN\" http://" + "<this address>/v1/queues\n" +
				"To look at the page in a browser, run a dispatcher without a token on a loopback address next to it.\n"))
			return
		}
		writeProblem(w, problem{Type: "unauthorized", Status: http.StatusUnauthorized,
			Detail: why + ": send the header 'Authorization: Bearer TOKEN', with the token the dispatcher was started with"})
	})
}

// bearer is the token of the request, or why there is none.
func bearer(r *http.Request) (token, why string) {
	all := r.Header.Values("Authorization")
	switch len(all) {
	case 0:
		return "", "none was sent"
	case 1:
	default:
		return "", "several Authorization headers were sent"
	}
	scheme, token, ok := strings.Cut(all[0], " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", "the Authorization header is not of the form 'Bearer TOKEN'"
	}
	return token, ""
}
