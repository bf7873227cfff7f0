//! The guide's texts, in four languages.

use super::command::Unclear;
use super::lang::Lang;
use super::when::Problem;
use super::words::by_lang;

/// The requests that the guide understands, with examples.
pub const HELP: &str = "Here is what I can do. Write it as it stands, or nearly so:

**Reminders and tasks**
- remind me in 10 minutes to stretch
- at 17:30 call Ann · tomorrow at 9 send the report · on December 24 at 18:00 light the candles
- every minute say hello · every day at 9 drink water · every monday at 8:30 plan the week
- every weekday except friday at 8 wake up · every 15 minutes from 9 to 17 check mail
- every day at 18:00 run ./backup.sh
- list tasks · pause 1 · resume 1 · run 1 now · cancel 1 · cancel all · snooze 10 minutes · undo

**My folder and memory**
- list files · show notes.txt
- remember that the meeting is in room 5 · what do you remember · forget the meeting is in room 5

**My room**
- run uname -a (any shell command, in a container of this group's own)

**And** help · who are you · status · time
In the main group also: list chats · register web:team as team";

const HELP_DE: &str = "Das kann ich. Schreib es so oder fast so:

**Erinnerungen und Aufgaben**
- erinnere mich in 10 Minuten an den Herd
- um 17:30 Anna anrufen · morgen um 9 Bericht schicken · am 24. Dezember um 18 Uhr Kerzen anzünden
- jeden Tag um 9 Wasser trinken · jeden Montag um 8:30 Woche planen
- werktags außer freitags um 8 aufstehen · alle 15 Minuten von 9 bis 17 Post ansehen
- Aufgaben · pausiere 1 · lösche 1 · lösche alle Aufgaben · schlummern · rückgängig

**Ordner und Gedächtnis**
- Dateien · zeige notizen.txt
- merke dir, dass das Treffen in Raum 5 ist · was weißt du · vergiss, dass das Treffen in Raum 5 ist

**Mein Raum**
- run uname -a (jeder Shell-Befehl, im eigenen Container dieser Gruppe)

**Und** Hilfe · wer bist du · status · Uhrzeit";

const HELP_ES: &str = "Esto es lo que sé hacer. Escríbelo así o casi así:

**Recordatorios y tareas**
- recuérdame en 10 minutos apagar el horno
- a las 17:30 llamar a Ana · mañana a las 9 enviar el informe · el 24 de diciembre a las 18 encender las velas
- cada día a las 9 beber agua · todos los lunes a las 8:30 planear la semana
- tareas · pausa 1 · cancela 1 · cancela todo · posponer · deshacer

**Carpeta y memoria**
- archivos · muestra notas.txt
- recuerda que la reunión es en la sala 5 · qué recuerdas · olvida que la reunión es en la sala 5

**Mi cuarto**
- run uname -a (cualquier orden del shell, en el contenedor de este grupo)

**Y** ayuda · quién eres · estado · qué hora es";

const HELP_FR: &str = "Voici ce que je sais faire. Écris-le ainsi, ou presque :

**Rappels et tâches**
- rappelle-moi dans 10 minutes d'éteindre le four
- à 17h30 appeler Anne · demain à 9h envoyer le rapport · le 24 décembre à 18h allumer les bougies
- chaque jour à 9h boire de l'eau · tous les lundis à 8h30 préparer la semaine
- tâches · suspends 1 · annule 1 · annule tout · reporte · annuler

**Dossier et mémoire**
- fichiers · montre notes.txt
- retiens que la réunion est en salle 5 · que sais-tu · oublie que la réunion est en salle 5

**Ma pièce**
- run uname -a (toute commande du shell, dans le conteneur de ce groupe)

**Et** aide · qui es-tu · état · quelle heure est-il";

/// Returns the help in a language.
pub fn help(lang: Lang) -> &'static str {
    by_lang!(lang, HELP, HELP_DE, HELP_ES, HELP_FR)
}

/// Introduces the guide and Parlor.
pub fn about(lang: Lang, name: &str) -> String {
    by_lang!(
        lang,
        format!(
            "I am {name}, Parlor's built-in guide: a small program, not a language model. I need no key and no network, \
             and everything I do is real.\n\n\
             Parlor gives every chat group an agent in a room of its own: a container that starts when you write, sees \
             this group's folder and nothing of other groups, and is gone when it is idle. The folder, the memory in \
             CLAUDE.md and the tasks stay.\n\n\
             With a key for a language model (`parlor setup`), or a program of your own (provider `exec`), the same room \
             gets a cleverer agent. Write “help” to see what I can do."
        ),
        format!(
            "Ich bin {name}, der eingebaute Helfer von Parlor: ein kleines Programm, kein Sprachmodell. Ich brauche \
             weder Schlüssel noch Netz, und was ich tue, geschieht wirklich.\n\n\
             Parlor gibt jeder Gruppe einen Agenten in einem eigenen Raum: einem Container, der startet, wenn du \
             schreibst, nur den Ordner dieser Gruppe sieht und wieder verschwindet. Ordner, Gedächtnis und Aufgaben \
             bleiben.\n\n\
             Mit einem Sprachmodell (`parlor setup`) wird der Agent klüger. „Hilfe“ zeigt, was ich kann."
        ),
        format!(
            "Soy {name}, el guía de Parlor: un programa pequeño, no un modelo de lenguaje. No necesito clave ni red, y \
             todo lo que hago es real.\n\n\
             Parlor da a cada grupo un agente en un cuarto propio: un contenedor que empieza cuando escribes, ve solo la \
             carpeta de este grupo y desaparece después. La carpeta, la memoria y las tareas quedan.\n\n\
             Con un modelo de lenguaje (`parlor setup`) el agente es más listo. Escribe «ayuda» para ver qué sé hacer."
        ),
        format!(
            "Je suis {name}, le guide de Parlor : un petit programme, pas un modèle de langage. Je n'ai besoin ni de clé \
             ni de réseau, et tout ce que je fais est réel.\n\n\
             Parlor donne à chaque groupe un agent dans une pièce à lui : un conteneur qui démarre quand tu écris, ne \
             voit que le dossier de ce groupe et disparaît ensuite. Le dossier, la mémoire et les tâches restent.\n\n\
             Avec un modèle de langage (`parlor setup`) l'agent est plus malin. Écris « aide » pour voir ce que je sais \
             faire."
        )
    )
}

/// Answers a greeting.
pub fn greeting(lang: Lang, name: &str) -> String {
    by_lang!(
        lang,
        format!(
            "Hello! I am {name}, Parlor's guide. I can remind you of things, keep notes, and run commands in this \
             group's own room. Try “remind me in 10 seconds to smile”, or write “help”."
        ),
        format!(
            "Hallo! Ich bin {name}, der Helfer von Parlor. Ich kann dich erinnern, mir etwas merken und Befehle im Raum \
             dieser Gruppe ausführen. Versuch „erinnere mich in 10 Sekunden ans Lächeln“ oder schreib „Hilfe“."
        ),
        format!(
            "¡Hola! Soy {name}, el guía de Parlor. Puedo recordarte cosas, tomar notas y ejecutar órdenes en el cuarto \
             de este grupo. Prueba «recuérdame en 10 segundos sonreír» o escribe «ayuda»."
        ),
        format!(
            "Bonjour ! Je suis {name}, le guide de Parlor. Je peux te rappeler des choses, prendre des notes et exécuter \
             des commandes dans la pièce de ce groupe. Essaie « rappelle-moi dans 10 secondes de sourire » ou écris « aide »."
        )
    )
}

/// Answers thanks.
pub fn thanks(lang: Lang) -> &'static str {
    by_lang!(lang, "You are welcome!", "Gern geschehen!", "¡De nada!", "Avec plaisir !")
}

/// Answers a farewell.
pub fn farewell(lang: Lang) -> &'static str {
    by_lang!(
        lang,
        "Goodbye! I am here when you write again.",
        "Bis bald! Ich bin da, wenn du wieder schreibst.",
        "¡Hasta luego! Aquí estaré cuando escribas.",
        "Au revoir ! Je suis là quand tu écriras."
    )
}

/// Answers a request that the grammar does not know.
pub fn unknown(lang: Lang, request: &str) -> String {
    let shown = shortened(request);
    by_lang!(
        lang,
        format!(
            "I did not understand “{shown}”: I am a small program and know only certain phrases. For example:\n\
             - remind me in 10 minutes to stretch\n- list tasks\n- remember that Ann likes tea\n- run date\n\
             Write “help” for all of them."
        ),
        format!("Das habe ich nicht verstanden: „{shown}“. „Hilfe“ zeigt, was ich kann."),
        format!("No he entendido «{shown}». «ayuda» muestra lo que sé hacer."),
        format!("Je n'ai pas compris « {shown} ». « aide » montre ce que je sais faire.")
    )
}

/// Returns a hint that a model can be connected, for a group that asked for more than the guide can do. Said once.
pub fn model_hint(lang: Lang) -> &'static str {
    by_lang!(
        lang,
        "A language model would understand you: whoever runs Parlor can connect one with `parlor setup`.",
        "Ein Sprachmodell würde dich verstehen: Wer Parlor betreibt, verbindet eines mit `parlor setup`.",
        "Un modelo de lenguaje te entendería: quien maneja Parlor puede conectar uno con `parlor setup`.",
        "Un modèle de langage te comprendrait : qui gère Parlor peut en connecter un avec `parlor setup`."
    )
}

/// Offers the request that was probably meant.
pub fn did_you_mean(lang: Lang, offer: &str) -> String {
    let offer = shortened(offer);
    by_lang!(
        lang,
        format!("Did you mean “{offer}”? Write “yes”."),
        format!("Meintest du „{offer}“? Schreib „ja“."),
        format!("¿Querías decir «{offer}»? Escribe «sí»."),
        format!("Voulais-tu dire « {offer} » ? Écris « oui ».")
    )
}

/// Answers a "yes" without an offer.
pub fn nothing_offered(lang: Lang) -> &'static str {
    by_lang!(
        lang,
        "I have not asked anything. Write “help” to see what I can do.",
        "Ich habe nichts gefragt. „Hilfe“ zeigt, was ich kann.",
        "No he preguntado nada. «ayuda» muestra lo que sé hacer.",
        "Je n'ai rien demandé. « aide » montre ce que je sais faire."
    )
}

/// Asks for the missing part of a reminder.
pub fn unclear(lang: Lang, what: &Unclear) -> String {
    match what {
        Unclear::NoTime => by_lang!(
            lang,
            "I understood that you want a reminder, but not when. Try “remind me in 10 minutes to stretch”, “remind me at \
             17:30 to call Ann” or “remind me every monday at 8:30 to plan the week”.",
            "Du möchtest eine Erinnerung, aber wann? Versuch „erinnere mich in 10 Minuten an den Herd“ oder „erinnere mich \
             jeden Montag um 8:30 an die Planung“.",
            "Quieres un recordatorio, pero ¿cuándo? Prueba «recuérdame en 10 minutos apagar el horno» o «recuérdame todos \
             los lunes a las 8:30 planear la semana».",
            "Tu veux un rappel, mais quand ? Essaie « rappelle-moi dans 10 minutes d'éteindre le four » ou « rappelle-moi \
             tous les lundis à 8h30 de préparer la semaine »."
        )
        .to_owned(),
        Unclear::NoSubject => by_lang!(
            lang,
            "What shall I remind you of? Try “remind me in 10 minutes to stretch”.",
            "Woran soll ich erinnern? Versuch „erinnere mich in 10 Minuten an den Herd“.",
            "¿Qué debo recordarte? Prueba «recuérdame en 10 minutos apagar el horno».",
            "Que dois-je te rappeler ? Essaie « rappelle-moi dans 10 minutes d'éteindre le four »."
        )
        .to_owned(),
        Unclear::Part(part, _) => by_lang!(
            lang,
            format!("I do not know the time “{part}”, so I did nothing. Write it like “2026-12-24 at 18:00”, “on friday at 16:00” or “every weekday at 9”."),
            format!("Die Zeit „{part}“ kenne ich nicht und habe nichts getan. Schreib etwa „am 24.12.2026 um 18:00“, „am Freitag um 16 Uhr“ oder „werktags um 9“."),
            format!("No conozco el momento «{part}» y no he hecho nada. Escribe por ejemplo «el 24 de diciembre a las 18», «el viernes a las 16» o «entre semana a las 9»."),
            format!("Je ne connais pas le moment « {part} » et je n'ai rien fait. Écris par exemple « le 24 décembre à 18h », « vendredi à 16h » ou « en semaine à 9h ».")
        ),
    }
}

/// Explains why a time that was understood makes no schedule.
pub fn problem(lang: Lang, problem: &Problem) -> String {
    match problem {
        Problem::EveryOtherWeek => by_lang!(
            lang,
            "I cannot count every second week. Name the weeks of the month instead: “every first monday of the month at 9” \
             and “every third monday of the month at 9”.",
            "Jede zweite Woche kann ich nicht zählen. Nenne die Wochen im Monat: „jeden ersten Montag im Monat um 9“ und \
             „jeden dritten Montag im Monat um 9“.",
            "No sé contar cada dos semanas. Di qué semana del mes: «cada primer lunes del mes a las 9» y «cada tercer lunes \
             del mes a las 9».",
            "Je ne sais pas compter une semaine sur deux. Nomme la semaine du mois : « chaque premier lundi du mois à 9h »."
        )
        .to_owned(),
        Problem::TwoMinutes => by_lang!(
            lang,
            "Times of one task must have the same minutes, such as 9:30 and 17:30. Write two requests.",
            "Die Zeiten einer Aufgabe müssen die gleichen Minuten haben, etwa 9:30 und 17:30. Schreib zwei Aufgaben.",
            "Las horas de una tarea deben tener los mismos minutos, como 9:30 y 17:30. Escribe dos.",
            "Les heures d'une tâche doivent avoir les mêmes minutes, comme 9h30 et 17h30. Écris-en deux."
        )
        .to_owned(),
        Problem::Window => by_lang!(
            lang,
            "A window needs full hours and a step that fits into an hour or a day: “every 15 minutes from 9 to 17”.",
            "Ein Zeitraum braucht volle Stunden und einen Schritt, der aufgeht: „alle 15 Minuten von 9 bis 17“.",
            "Un intervalo necesita horas en punto y un paso que encaje: «cada 15 minutos de las 9 hasta las 17».",
            "Une plage demande des heures pleines et un pas qui tombe juste : « toutes les 15 minutes de 9h jusqu'à 17h »."
        )
        .to_owned(),
        Problem::WhichMonth(first, second) => {
            let (a, b) = (format!("2026-{first:02}-{second:02}"), format!("2026-{second:02}-{first:02}"));
            by_lang!(
                lang,
                format!("{first}/{second} can be two dates: write {a} or {b}, with the year you mean."),
                format!("{first}/{second} kann zweierlei sein: Schreib {a} oder {b}, mit dem Jahr, das du meinst."),
                format!("{first}/{second} puede ser dos fechas: escribe {a} o {b}, con el año que quieras."),
                format!("{first}/{second} peut être deux dates : écris {a} ou {b}, avec l'année voulue.")
            )
        }
        Problem::Over(when, now) => by_lang!(
            lang,
            format!("{when} is over already; it is {now}."),
            format!("{when} ist schon vorbei; es ist {now}."),
            format!("{when} ya pasó; son las {now}."),
            format!("{when} est déjà passé ; il est {now}.")
        ),
        Problem::TooFar => by_lang!(
            lang,
            "That is too far away.",
            "Das ist zu weit weg.",
            "Eso está demasiado lejos.",
            "C'est trop loin."
        )
        .to_owned(),
    }
}

/// Answers files without a text.
pub fn files(lang: Lang, files: &[String]) -> String {
    let first = files.first().map_or("", String::as_str);
    let names = files.join(", ");
    by_lang!(
        lang,
        format!("I have {names} now. “show {first}” shows a text; “run …” works on it."),
        format!("Ich habe jetzt {names}. „zeige {first}“ zeigt einen Text."),
        format!("Ya tengo {names}. «muestra {first}» enseña un texto."),
        format!("J'ai maintenant {names}. « montre {first} » affiche un texte.")
    )
}

fn shortened(text: &str) -> String {
    let more = if text.chars().nth(80).is_some() { "…" } else { "" };
    let shown: String = text.chars().take(80).collect();
    format!("{shown}{more}")
}
