package cluster

import (
	"testing"
	"time"
)

// wants fails the test if an answer is not as it should be.
func (f *farm) wants(what string, got answer, result string) answer {
	f.t.Helper()
	if got.Result != result {
		f.t.Fatalf("%s: got %v after %v, want %s", what, got.output, got.Took, result)
	}
	return got
}

// A session that is fetched comes with all that belongs to it: bytes, lock, cookie, age, flags, and the time it has left.
func TestFetch_BringsAllOfIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFarm(t, 1, 3)
		a, b, c := f.node("a"), f.node("b"), f.node("c")
		f.wants("insert", a.insert("s", 1), "ok")
		got := f.wants("the first read, elsewhere", b.get("s"), "ok")
		if !got.First || got.Value != 1 || got.Timeout != minutes {
			t.Errorf("got %+v, want value 1, the news that it is new, and %d minutes", got, minutes)
		}
		if got.Took > 5*ms {
			t.Errorf("it took %v", got.Took)
		}
		got = f.wants("the second read", c.get("s"), "ok")
		if got.First {
			t.Error("it was new twice")
		}
		lock := f.wants("acquire", a.acquire("s"), "ok")
		time.Sleep(3 * time.Second)
		other := f.wants("acquire, elsewhere", b.acquire("s"), "locked")
		if other.Cookie != lock.Cookie || other.LockAge < 3*time.Second || other.LockAge > 4*time.Second {
			t.Errorf("got %+v, want cookie %d and 3s to 3.6s", other, lock.Cookie)
		}
		f.wants("write, elsewhere", c.put("s", 2, lock.Cookie), "ok")
		got = f.wants("read", b.get("s"), "ok")
		if got.Value != 2 {
			t.Errorf("read %v, want what was written", got)
		}
		f.atRest()
	})
}
