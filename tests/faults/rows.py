"""The rows of docs/faults.md: what can go wrong, what must come of it, and why a row has no test where it has none."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One fault: its number, the fault and the right answer in a few words; `missing` says why nothing tests it."""

    id: str
    fault: str
    answer: str
    missing: str = ""


PARTS = {"U": "The upstream", "D": "The data", "P": "Processes and servers", "S": "Size and fairness"}

_UPSTREAM = (
    ("1", "429 that says how long to wait", "that account waits in Postgres, not before its time; nothing is lost"),
    ("2", "429 whose Retry-After is a date, zero, negative, huge or nonsense", "read or ignored; 1 s to 1 h; no crash"),
    ("3", "429 without Retry-After, again and again", "waits double up to an hour, and two accounts drift apart"),
    ("4", "500, 502, 503, 504: once, or for hours", "`backing_off` with its reason; ends by itself; nothing is lost"),
    ("5", "Connection refused, no such name, no answer to the connection", "as an outage; never blamed on the token"),
    ("6", "An answer that trickles for ever", "given up at the deadline of the whole request"),
    ("7", "A body shorter than its Content-Length", "nothing of it is used; asked for again"),
    ("8", "A body cut off where nothing told its length", "noticed by its missing end; asked for again"),
    ("9", "One page or object that is never readable", "that second or that object alone fails, and is a problem"),
    ("10", "A page for people in place of JSON", "never taken for mail, nor for the end of a list"),
    ("11", "JSON under another content type", "JSON's own types are taken, others asked for again"),
    ("12", "An error object with status 200", "counts as the status it names"),
    ("13", "Redirects: elsewhere, in circles, to other hosts", "not followed; no token leaves the origin"),
    ("14", "TLS that cannot be trusted", "fails closed before anything is sent; the account backs off"),
    ("15", "A page token that dies in mid-listing", "only that window starts over or is cut; no 404 ends a list"),
    ("16", "Page tokens that lead in a circle", "noticed at the first repetition; the window is cut"),
    ("17", "An empty page that has a next one", "read on"),
    ("18", "`next_page` missing, or a number", "missing breaks the protocol; a number is a token like any other"),
    ("19", "One message on two pages", "written once"),
    ("20", "A deletion while paging makes the list skip a message", "the window is walked again until undisturbed"),
    ("21", "`count` and `page_size` that are not kept to", "neither is believed"),
    ("22", "The activity cursor is refused", "a new cursor first, then every window again, then the deletions"),
    ("23", "The cursor skips lost events without a word", "its age, and as many events as are ever kept, tell"),
    ("24", "A cursor that is null, missing, empty or -1", "never stored; the page is not taken"),
    ("25", "Events, but a cursor that stands still", "applied once, a problem, no hot loop; closes itself"),
    ("26", "The upstream goes back to an older state", "the walks make the mirror equal again"),
    ("27", "Events in any order", "the answer to a GET counts, never the order"),
    ("28", "A thousand events for one message", "one GET a page"),
    ("29", "An event for a message that answers 404", "young ones are pending and asked for again, others gone"),
    ("30", "A deletion of a message never seen", "leaves a tombstone, which keeps late list pages out"),
    ("31", "Lists lag behind events", "absence from a list deletes nothing that a GET still shows"),
    ("32", "A message changes between list and GET", "what was asked for last stays"),
    ("33", "Events of unknown kinds, of other things, or without an id", "read as updates, skipped, or a problem"),
    ("34", "Messages exactly on the edge of a window", "each stands in exactly one window"),
    ("35", "An upstream that means its bounds otherwise", "overlapping windows"),
    ("36", "The upstream's clock is a day off ours", "windows end by the upstream's own Date"),
    ("37", "`created` in the future, in 1970, or null", "stored; moves no edge of any window"),
    ("38", "A window with far too many messages", "closed as far as it was read, the rest halved; hardly a page twice"),
    ("39", "401: the token was revoked", "two requests at most, then it waits for a person; the mail stays"),
    ("40", "403: no activity in the plan, or a scope that lacks", "lists alone, and says so; or waits for a person"),
    ("41", "401 for every account: the app's own key", "all of them wait, as one; no account is marked"),
    ("42", "The account itself is gone upstream", "`gone` and at rest; its mail is kept; resumes when it is back"),
    ("43", "A list that is suddenly empty, or half", "the brake: nothing is deleted until a person confirms"),
    ("44", "Every id changes", "the new ones come in, the old ones are held by the brake"),
    ("45", "An answer that unpacks to gigabytes", "given up at the cap, long before memory ends"),
)  # fmt: skip

_DATA = (
    ("1", "NUL in any text", "replaced and named in `altered`; the rest of the page is untouched"),
    ("2", "Lone surrogates", "replaced and named in `altered`"),
    ("3", "A body of 50 MB", "kept up to the limit, with its true size; memory stays bounded"),
    ("4", "Times that are none", "null, with the text beside it; every row stays readable"),
    ("5", "Fields missing, null, extra, of the wrong type", "what is no message fails alone, all else is stored"),
    ("6", "NaN, endless numbers, endless nesting, keys twice", "that object or page fails, never the worker"),
    ("7", "Ten thousand recipients", "one message, in order"),
    ("8", "The same person twice, in to and in cc", "all kept as written"),
    (
        "9",
        "Addresses in any case, script, length, or none at all",
        "kept as written; one normal form that fits an index",
    ),
    (
        "10",
        "Names that are empty, or differ for one address",
        "the newest message's name; a second look writes nothing",
    ),
    ("11", "Labels twice, without an id, a thousand of them", "distinct by id; known by name where there is no id"),
    ("12", "A label or folder is renamed", "the new name comes with the next look at a message that has it"),
    ("13", "Equal ids in two accounts", "they never touch each other"),
    ("14", "Quotes, percent signs, scripts from right to left, emoji", "come back as they went in"),
    ("15", "Numbers beyond 64 bits", "ids and positions are text; a size nobody can have is dropped and named"),
    ("16", "Ids that are missing, endless, or climb paths", "one segment of a path, or refused by themselves"),
    ("17", "HTML with scripts, lines of megabytes, bytes of no charset", "stored as text, shown only escaped"),
    ("18", "Recipients that are null, an object, or texts", "null is nobody; the others are a problem of that message"),
    ("19", "A message changes its thread or folder", "a small update that leaves the bodies alone"),
    ("20", "File ids that change at every read", "no row is written"),
)

_PROCESSES = (
    ("1", "`kill -9` at any step", "the next run goes on where it was, and ends equal"),
    ("2", "`kill -9` again while it recovers", "as well"),
    ("3", "COMMIT is carried out, its answer is lost", "the next run reads what is there and goes on"),
    ("4", "SIGTERM", "what is committed stays, the lease is given back"),
    ("5", "All workers killed at once", "the lease bounds the wait; everything goes on"),
    ("6", "One child of a worker killed", "the account is rung for again; the worker stays"),
    ("7", "A task lasts longer than the queue believes", "the second copy meets the lease and asks for nothing"),
    ("8", "The same task many times", "one works, the others leave without a request"),
    ("9", "A worker stopped beyond its lease wakes up", "the fence: it changes no row and ends"),
    ("10", "The scheduler rests for an hour", "all are due, the longest waiting first; nothing is lost"),
    ("11", "Several schedulers", "nobody is rung for twice"),
    ("12", "The queue forgets everything", "marks wear off, all are rung for again"),
    ("13", "The queue is away for an hour", "workers reconnect; no storm afterwards"),
    ("14", "The queue's memory is full", "nothing is evicted, and only so many are ever queued"),
    ("15", "Postgres restarts, or cuts connections", "the run ends, the next one goes on"),
    ("16", "A failover that loses the last commits", "cursor and rows went back together: replay repairs"),
    ("17", "Serialization failures and deadlocks", "the transaction runs again, a few times"),
    ("18", "A lock or a statement takes too long", "nothing is written; tried again later; no session idles for ever"),
    ("19", "The disk is full", "nothing moves, reads go on; goes on by itself once there is room"),
    ("20", "Postgres is read-only", "one clear reason; goes on once it is not"),
    ("21", "No connection is left", "one clear reason; goes on once there is one"),
    ("22", "A migration while workers run", "the release before must work on the new schema"),
    ("23", "Task messages of another version", "refused without harm; Postgres rings again"),
    ("24", "The worker's clock jumps by years", "what is written is the database's time"),
    ("25", "The database's clock goes back an hour", "nobody waits longer than the slowest poll"),
    ("26", "Daylight saving, leap days, other time zones", "UTC everywhere, windows on absolute seconds"),
    ("27", "Memory that grows", "children are replaced; no slope"),
    ("28", "A fork after the engine was made", "connections are made in each child at its first task"),
    ("29", "Advisory locks left behind in a pool", "none are used to keep accounts apart"),
)  # fmt: skip

_SIZE = (
    ("1", "Ten thousand accounts", "claimed in order, nobody twice, nobody late"),
    ("2", "A giant among small ones", "the small ones are as current as without it"),
    ("3", "An account that fails every time", "longer pauses each time, counted before the work; others go on"),
    ("4", "Everybody is due after an outage", "no more at once than fit, the longest waiting first"),
    ("5", "Every account of one service fails", "a breaker for that service"),
    ("6", "A hundred thousand events at once", "small commits; as many as are ever kept: everything is walked"),
    ("7", "A reader of changes stays away for a week", "gets every row as it is now; nothing was kept for it"),
    ("8", "Updates that change nothing", "no row is written"),
    ("9", "A long transaction elsewhere holds the horizon back", "readers wait, are told for whom, and lose nothing"),
    ("10", "An account is removed while it is worked on", "the fence ends the run; nothing is left behind"),
)  # fmt: skip

ROWS = tuple(
    Row(part + number, *words)
    for part, rows in (("U", _UPSTREAM), ("D", _DATA), ("P", _PROCESSES), ("S", _SIZE))
    for number, *words in rows
)
IDS = tuple(row.id for row in ROWS)
