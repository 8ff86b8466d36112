package replicas

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/nodehost/replicas/life"
)

func retire(o *drummerpb.Order) { o.Body = &drummerpb.Order_Retire{Retire: &drummerpb.Retire{}} }

// up is a world in which one replica runs.
func up(k Key) *world {
	w := newWorld().step(Boot{}, order(1, k, launch), Started{Key: k}, Up{k})
	w.take()
	return w
}

func TestARetiredReplicaNeverRunsAgain(t *testing.T) {
	k := key(1000, 7)
	w := up(k).step(order(2, k, retire))
	require.Equal(t, []string{"replicas.Retire"}, w.take())
	require.Equal(t, life.Retiring, w.disk.Records[k].Life, "saved before it is done")
	w.step(order(3, k, retire), RetireEnded{Key: k, Applied: 42})
	require.Equal(t, []string{"ok 2", "ok 3"}, w.take())
	require.Equal(t, "RETIRED", state(t, w, k))
	require.EqualValues(t, 42, w.disk.Records[k].Applied)

	w.step(order(4, k, retire), order(5, k, launch), order(6, k, seal))
	require.Equal(t, []string{
		"ok 4", "refused 5: replica 1000.7 is retired; it never runs again", "refused 6: replica 1000.7 is being destroyed, or retired",
	}, w.take())
	w.restart()
	w.step(Boot{}, Up{k}, Fell{k})
	require.Equal(t, []string{"booted"}, w.take(), "it is not started")
	require.Equal(t, "RETIRED", state(t, w, k))

	w.step(order(7, k, destroy, generation(11)), Destroyed{Key: k})
	require.Equal(t, []string{"destroy 1000.7", "ok 7", "gone 1000.7"}, w.take(), "its data goes by order")
}

func TestARetirementIsFinishedAfterACrash(t *testing.T) {
	k := key(1000, 7)
	w := up(k).step(order(2, k, retire))
	w.restart()
	w.step(Boot{})
	require.Equal(t, []string{"start 1000.7"}, w.take(), "its state has to be had from its log")
	w.step(Started{Key: k}, Up{k})
	require.Equal(t, []string{"replicas.Retire", "booted"}, w.take())
	w.step(RetireEnded{Key: k, Err: "disk full"})
	require.Empty(t, w.take())
	require.Equal(t, life.Retiring, w.disk.Records[k].Life)
	w.now += time.Minute
	w.step(Tick{}, RetireEnded{Key: k, Applied: 9})
	require.Equal(t, []string{"replicas.Retire"}, w.take(), "tried again")
	require.Equal(t, life.Retired, w.disk.Records[k].Life)
}

func TestWhatIsBannedAtTheWelcomeNeverServesAgain(t *testing.T) {
	k, other := key(1000, 7), key(1001, 7)
	banned := []ids.Group{1000, 1003}
	w := up(k).step(Welcomed{Fence{2, 9}, nil}, order(2, other, launch, fence(2, 9)), Started{Key: other}, Up{other})
	w.restart()
	w.take()
	w.step(Welcomed{Fence{2, 8}, banned})
	require.Equal(t, life.Running, w.disk.Records[k].Life, "a deposed supervisor is not believed")
	w.step(Welcomed{Fence{2, 9}, banned}, Boot{})
	require.Equal(t, life.Retiring, w.disk.Records[k].Life)
	require.Equal(t, life.Running, w.disk.Records[other].Life)
	require.Equal(t, []string{"start 1000.7", "start 1001.7"}, w.take())
	w.step(Started{Key: k}, Up{k}, RetireEnded{Key: k, Applied: 9})
	require.Equal(t, []string{"replicas.Retire"}, w.take(), "no order is needed")
	require.Equal(t, "RETIRED", state(t, w, k))

	w = up(k).step(Welcomed{Fence{2, 9}, banned})
	require.Equal(t, []string{"replicas.Retire"}, w.take(), "one that runs is stopped at once")
}

func TestWhatCannotRunIsRetiredWithoutAState(t *testing.T) {
	k := key(1000, 7)
	w := up(k).step(Fell{k}, order(2, k, retire))
	require.Equal(t, []string{"ok 2"}, w.take())
	l, _ := w.core.Look(k)
	require.Equal(t, "retired without a state: it did not run", l.Detail)
	require.Equal(t, []string{"later 3: replica 1001.7 is not here"}, w.step(order(3, key(1001, 7), retire)).take())

	w = newWorld().step(Boot{}, order(1, k, launch), order(2, k, retire))
	require.Equal(t, []string{"booted", "start 1000.7", "later 2: the replica is starting"}, w.take())
}

// TestWhoRetiresWhatDoesNotStartHearsWhy: every order is answered, however often it comes.
func TestWhoRetiresWhatDoesNotStartHearsWhy(t *testing.T) {
	k := key(1000, 7)
	w := up(k)
	w.restart()
	w.step(Welcomed{Fence{2, 9}, []ids.Group{1000}}, Boot{}, Started{Key: k, Err: "its data is gone"})
	w.take()
	for token := uint64(2); token < 12; token++ {
		for len(w.step(Tick{}).take()) == 0 { // until it is started again
			w.now += 500 * time.Millisecond
		}
		w.step(order(token, k, retire, fence(2, 9)), Started{Key: k, Err: "its data is gone"})
		require.Equal(t, []string{fmt.Sprintf("later %d: start: its data is gone", token)}, w.take())
	}
}

func TestADestructionOvertakesARetirement(t *testing.T) {
	k := key(1000, 7)
	w := up(k).step(order(2, k, retire), order(3, k, destroy), RetireEnded{Key: k, Applied: 5}, Destroyed{Key: k})
	require.Equal(t, []string{"replicas.Retire", "later 2: the replica is being destroyed", "destroy 1000.7", "ok 3", "gone 1000.7"}, w.take())
}
