"""Words for generated mail: people, companies, subjects and sentences, in several scripts."""
# ruff: noqa: RUF001, E501 - words of many scripts, in tables

FIRST = (
    "Anna", "Ben", "Carla", "David", "Elif", "Fatima", "George", "Hanna", "Ivan", "Julia", "Kenji", "Lena", "Marco",
    "Nadia", "Olga", "Priya", "Quentin", "Rosa", "Samuel", "Tomás", "Uma", "Viktor", "Wei", "Ximena", "Yusuf", "Zoë",
    "Björn", "Chloé", "Дмитрий", "田中", "Ελένη", "محمد", "Łukasz", "Jürgen", "Siobhán", "अनिता",
)  # fmt: skip
LAST = (
    "Adler", "Brandt", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ito", "Jansen", "Kowalski",
    "Lopez", "Müller", "Novak", "O'Connor", "Petrov", "Quinn", "Rossi", "Schmidt", "Tanaka", "Ueda", "Vogel", "Weber",
    "Xu", "Yılmaz", "Zhang", "Иванов", "健", "Παπαδοπούλου", "الحسن", "Wójcik", "Sørensen", "शर्मा",
)  # fmt: skip
DOMAINS = (
    "northwind.example", "brueckner-gmbh.example", "acme.example", "harbour-labs.example", "mail.example",
    "lumen.example", "tanaka.example", "oak-and-sons.example", "uni-west.example", "post.example",
)  # fmt: skip
SENDERS = (
    ("ci@builds.example", "Build Server"), ("no-reply@invoices.example", "Invoices"),
    ("notifications@tracker.example", "Issue Tracker"), ("calendar@meet.example", None),
    ("backup@nas.example", "Nightly Backup"), ("MAILER-DAEMON@mx.example", "Mail Delivery System"),
    ("alerts@monitor.example", "⚠️ Monitor"), ("no-reply@travel.example", "Travel Desk"),
)  # fmt: skip
NEWSLETTERS = (
    ("news@weekly.example", "The Weekly Digest"), ("hello@garden.example", "Garden & Home 🌱"),
    ("letter@science.example", "Science Letters"), ("offers@shop.example", "Shop"), ("redaktion@zeitung.example", "Zeitung"),
)  # fmt: skip
TOPICS = (
    "Falcon", "Q3 budget", "the Lisbon office", "website relaunch", "Brücke", "interview schedule", "data export",
    "printer on floor 2", "holiday plan", "contract draft", "kick-off", "API limits", "user research", "invoice 20417",
    "summer party 🎉", "проект «Север»", "来週の会議", "新产品发布", "budżet", "عرض الأسعار", "πρόγραμμα", "योजना",
)  # fmt: skip
SUBJECTS = (
    "{}", "Question about {}", "{}: next steps", "Notes on {}", "{} - please review", "Re-planning {}", "Draft: {}",
    "[team] {}", "Can we talk about {}?", "{} (updated)", "Minutes: {}", "URGENT {}",
)  # fmt: skip
AUTOMATIC = (
    "Build #{0} of {1} failed", "Your invoice {0} is ready", "[TRACK-{0}] {1} was updated", "Invitation: {1} @ 10:00",
    "Backup finished: {0} files", "Undelivered Mail Returned to Sender", "Disk 9{0}% full on host-{0}",
    "Your trip {0}: boarding pass",
)  # fmt: skip
SENTENCES = (
    "I went through the draft and left comments in the margin.", "Could you send me the latest numbers by Thursday?",
    "The meeting moves to Tuesday at ten; same room.", "I do not think we need another vendor for this.",
    "Thanks for the quick answer!", "Please see the attached file.", "Let us keep the scope small this time.",
    "The tests are green again, the cause was a time zone.", "I will be out of office until Monday.",
    "Who owns the contract with the landlord?", "We agreed on two weeks; I would rather plan three.",
    "The customer asked for an export as CSV & JSON.", "Nothing urgent, just so that you know.",
    "Price stays < 20 € per seat, > 500 seats on request.", "I copied Priya, she knows the history of this.",
    "Sounds good to me 👍", "Can somebody reproduce it on the old version?", "The train was late, sorry for the delay.",
    "Please do not forward this before it is signed.", "Here is the link again: https://intranet.example/plan?id=42&v=2",
    "I added a third option at the end of the document.", "Could we get a decision today?",
    "It worked on my machine, of course.", "The second half of the list is still open.",
    "Let me know if Friday suits you better.", "I have no strong opinion here.", "+1 from the design team.",
    "The old address bounces, use the new one.", "We should tell support before the change.",
    "The difference is about 3 % and within what we expected.", "Happy birthday, and enjoy the day off! 🎂",
    "One more thing: the keys are at the reception.", "Das Angebot liegt bei; bitte bis Freitag prüfen. Grüße",
    "Je vous envoie la version corrigée cet après-midi.", "Спасибо, всё получилось с первого раза.",
    "資料を添付しましたので、ご確認ください。", "会议改到下周三上午十点。", "شكرًا على الرد السريع.",
    "Σας ευχαριστώ για την άμεση απάντηση.", "कृपया संलग्न फ़ाइल देखें।", "감사합니다, 내일 다시 연락드리겠습니다.",
    "Nos vemos el jueves en la oficina, ¿verdad?", "Proszę o potwierdzenie do końca tygodnia.",
    "La riunione è spostata alle 15:30.", "👩‍👩‍👧‍👦 family day is on the 12th.", "Tack för hjälpen!",
)  # fmt: skip
FILES = (
    ("report.pdf", "application/pdf"), ("budget 2024.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("photo.jpg", "image/jpeg"), ("invite.ics", "text/calendar"), ("Übersicht.docx", "application/msword"),
    ("資料.pdf", "application/pdf"), ("log.txt", "text/plain"), ("archive.zip", "application/zip"),
    ("../notes/plan.md", "text/markdown"), (None, "application/octet-stream"),
)  # fmt: skip
