//! Corrects one-letter typos in words of the grammar. Pure.

use super::lang::Lang;

/// Shorter words are similar to too many others.
const SHORTEST: usize = 4;
/// Most corrections of a request that are tried.
const MAX_WAYS: usize = 12;
/// Words of a request that are checked.
const LOOKED_AT: usize = 40;

/// Returns the text with its typos corrected, in each possible way.
pub fn corrections(text: &str) -> Vec<String> {
    Lang::ALL.into_iter().flat_map(|lang| corrected(lang, text)).collect()
}

fn corrected(lang: Lang, text: &str) -> Vec<String> {
    let vocabulary: Vec<&str> = lang.vocabulary().filter(|word| word.len() >= SHORTEST).collect();
    let mut all = vec![String::new()];
    let mut changed = false;
    for (at, word) in text.split_whitespace().enumerate() {
        let bare = word.trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase();
        let known = at >= LOOKED_AT || bare.chars().count() < SHORTEST || vocabulary.contains(&bare.as_str());
        let mut near: Vec<&str> = vocabulary.iter().copied().filter(|one| !known && is_one_slip(&bare, one)).collect();
        // People rarely mistype a word's ends: "minuts" is "minutes" and not "minute".
        let ends = |one: &str| (one.chars().next() == bare.chars().next(), one.chars().last() == bare.chars().last());
        near.sort_by_key(|one| std::cmp::Reverse(ends(one)));
        near.dedup();
        let mut options: Vec<String> = near.into_iter().map(|one| word.to_lowercase().replace(&bare, one)).collect();
        if options.is_empty() {
            options.push(word.to_owned());
        }
        changed |= options.first().is_some_and(|first| first != word);
        let joined = |before: &String, one: &String| format!("{before}{}{one}", if at == 0 { "" } else { " " });
        all = all.iter().flat_map(|before| options.iter().map(move |one| joined(before, one))).take(MAX_WAYS).collect();
    }
    if changed { all } else { Vec::new() }
}

/// Returns true if one letter is wrong, missing, or extra, or if two neighbours are swapped.
fn is_one_slip(one: &str, other: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if a.len().abs_diff(b.len()) > 1 || a == b {
        return false;
    }
    let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (rest_a, rest_b) = (&a[same..], &b[same..]);
    match a.len().cmp(&b.len()) {
        std::cmp::Ordering::Less => rest_b.get(1..) == Some(rest_a),
        std::cmp::Ordering::Greater => rest_a.get(1..) == Some(rest_b),
        std::cmp::Ordering::Equal => {
            let swapped =
                rest_a.len() > 1 && rest_a[0] == rest_b[1] && rest_a[1] == rest_b[0] && rest_a[2..] == rest_b[2..];
            swapped || rest_a[1..] == rest_b[1..]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_is_a_typo_and_two_are_another_word() {
        for (one, other) in [
            ("minuts", "minutes"),
            ("reminde", "remind"),
            ("tomorow", "tomorrow"),
            ("mintues", "minutes"),
            ("remimd", "remind"),
        ] {
            assert!(is_one_slip(one, other), "{one}");
        }
        for (one, other) in [("remind", "remind"), ("mind", "remind"), ("tasks", "taste"), ("ab", "ba c")] {
            assert!(!is_one_slip(one, other), "{one}");
        }
    }

    #[test]
    fn whole_requests_are_corrected() {
        assert!(corrections("reminde me in 5 minuts to call").contains(&"remind me in 5 minutes to call".to_owned()));
        assert_eq!(corrections("write a poem of love"), [""; 0]);
    }
}
