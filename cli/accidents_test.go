package cli

import (
	"net/http"
	"strconv"
	"time"
)

// accidents is an application that does, by path, what none may do in a world.
func accidents(_ string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/shuffle":
			time.Sleep(time.Duration(shuffle()) * time.Millisecond)
		case "/vary":
			w.Header().Set("x-varied", strconv.Itoa(100000+shuffle()))
		case "/spin":
			spin()
		case "/crash":
			done := make(chan struct{})
			go crash(done)
			<-done
		case "/hoard":
			hoard()
		case "/panic":
			panic("of a handler")
		}
		next.ServeHTTP(w, r)
	})
}

// shuffle is the first number of a map.
func shuffle() int {
	numbers := make(map[int]bool)
	for i := range 1000 {
		numbers[i] = true
	}
	for i := range numbers {
		return i
	}
	return 0
}

func spin() {
	for n := 0; ; n++ {
		if n < 0 {
			return
		}
	}
}

func crash(done chan struct{}) {
	defer close(done)
	panic("planted")
}

func hoard() {
	var kept [][]byte
	for {
		block := make([]byte, 16<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		kept = append(kept, block)
		if len(kept) > 1<<10 {
			panic("16 GiB are not enough")
		}
	}
}
