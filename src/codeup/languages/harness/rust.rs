//! Compiled once, linked with every program: the harness, and the code of the standard library's generic types.
//!
//! Without optimisation rustc takes an instance like `Vec<i32>::push` from a crate that already has it
//! ("share-generics"), so a program's own compilation need not make it again. The functions below `prove` are never
//! called: each makes the instances that programs on lists, texts, maps and numbers ask for.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// The line that the judge wrote on standard input.
pub fn secret() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim().to_string()
}

/// Said after the last check.
pub fn prove(secret: &str, checks: usize) {
    println!("\n{secret} {checks}");
}

macro_rules! lists { ($($name:ident $kind:ty),* $(,)?) => { $(pub fn $name(x: $kind, other: &[$kind]) -> Vec<$kind> {
    let mut list: Vec<$kind> = Vec::with_capacity(other.len());
    let mut empty: Vec<$kind> = Vec::new();
    list.push(x.clone());
    list.insert(0, x.clone());
    list.extend(other.to_vec());
    list.extend_from_slice(other);
    list.extend(other.iter().cloned());
    list.append(&mut empty);
    list.resize(9, x.clone());
    for each in &list { if *each == x { break; } }
    for each in list.iter_mut() { *each = x.clone(); }
    for (place, each) in list.iter().enumerate() { if list[place] != *each { break; } }
    for each in list.iter().rev() { if *each == x { break; } }
    for each in list.clone() { empty.push(each); }
    for pair in list.windows(2) { if pair[0] == pair[1] { break; } }
    list[0] = list[1].clone();
    list.swap(0, 1);
    list.reverse();
    list.truncate(9);
    list.remove(0);
    let last = list.pop().unwrap();
    if list.contains(&last) || list.is_empty() { list.clear(); }
    let same: Vec<$kind> = list.iter().cloned().collect();
    let back: Vec<$kind> = list.clone().into_iter().rev().collect();
    let queue: VecDeque<$kind> = list.clone().into();
    assert_eq!(list[1..].to_vec(), vec![x.clone(); 9]);
    assert_eq!(same, back);
    assert_ne!(same, back);
    assert!(same == back && same[..] == other[..] && queue.len() == 1);
    assert_eq!((list.first(), list.get(1)), (list.last(), Some(&x)));
    assert_eq!(list.first(), Some(&x));
    assert_eq!(Some(x.clone()), list.iter().next().cloned());
    assert_eq!(Some(same), None);
    assert_eq!(x, list[0]);
    of_length!($kind, x.clone());
    list
})* } }

macro_rules! of_length { ($kind:ty, $x:expr) => { let _: [Vec<$kind>; 8] = [
    vec![$x], vec![$x, $x], vec![$x, $x, $x], vec![$x, $x, $x, $x], vec![$x, $x, $x, $x, $x], vec![$x, $x, $x, $x, $x, $x],
    vec![$x, $x, $x, $x, $x, $x, $x], vec![$x, $x, $x, $x, $x, $x, $x, $x],
]; } }

lists! {
    list_i32 i32, list_i64 i64, list_u32 u32, list_u64 u64, list_usize usize, list_u8 u8, list_f64 f64, list_bool bool,
    list_char char, list_string String, list_str &'static str, list_pair (i32, i32), list_option Option<i32>,
    list_list_i32 Vec<i32>, list_list_f64 Vec<f64>, list_list_string Vec<String>,
}

macro_rules! keys { ($($name:ident $kind:ty),* $(,)?) => { $(pub fn $name(mut list: Vec<$kind>) {
    list.sort();
    list.sort_unstable();
    list.dedup();
    if list.binary_search(&list[0]).is_ok() || list.iter().max() > list.iter().min() || list < vec![] { return; }
    let set: HashSet<$kind> = list.iter().cloned().collect();
    for each in &set { if set.contains(each) { break; } }
    let mut counts: HashMap<$kind, i32> = HashMap::new();
    let mut places: HashMap<$kind, usize> = HashMap::new();
    for (place, key) in list.iter().enumerate() { places.insert(key.clone(), place); }
    for key in list { *counts.entry(key).or_insert(0) += 1; }
    for (key, count) in &counts { if counts.contains_key(key) || counts.get(key) == Some(count) { break; } }
    for (key, place) in places.iter() { if places.get(key) != Some(place) { break; } }
    let sorted: BTreeMap<$kind, i32> = counts.into_iter().collect();
    for (_, count) in &sorted { if *count == 0 { break; } }
})* } }

keys! { keys_i32 i32, keys_i64 i64, keys_u32 u32, keys_usize usize, keys_char char, keys_string String, keys_str &'static str }

macro_rules! numbers { ($($name:ident $kind:ty),* $(,)?) => { $(pub fn $name(a: $kind, list: &[$kind]) -> $kind {
    for n in 0..a { if n > a { break; } }
    for n in 0..=a { if n < a { break; } }
    for n in (0..a).rev() { if n < a { break; } }
    for n in (0..a).step_by(2) { if n < a { break; } }
    let all: Vec<$kind> = (0..a).collect();
    if "1".parse::<$kind>().is_ok() || "1".parse::<$kind>().unwrap() <= all[0] || a.to_string() == "1" { return a.pow(2); }
    let (total, product): ($kind, $kind) = (list.iter().sum(), list.iter().product());
    std::cmp::max(total, std::cmp::min(product, 1))
})* } }

numbers! { number_i32 i32, number_i64 i64, number_u32 u32, number_u64 u64, number_usize usize }

pub fn texts(text: &str, letter: char) -> String {
    let letters: Vec<char> = text.chars().collect();
    let words: Vec<&str> = text.split(' ').collect();
    let parts: Vec<&str> = text.split_whitespace().collect();
    let pieces: Vec<&str> = text.split(", ").collect();
    let owned: Vec<String> = words.iter().map(|each| each.to_string()).collect();
    let back: String = text.chars().rev().collect();
    let again: String = letters.iter().collect();
    let whole: String = letters.into_iter().collect();
    for (place, each) in text.chars().enumerate() { if text.chars().nth(place) == Some(each) { break; } }
    for each in text.bytes() { if each > 1 { break; } }
    let mut out = format!("{}{:?}{}", again, parts, letter);
    out.push(letter);
    out.insert(0, letter);
    out.push_str(&words.join(" "));
    out += &owned.join(" ");
    if text.contains(letter) || text.contains("a") || text.starts_with('a') || text.ends_with("a") { out.clear(); }
    assert_eq!(pieces, owned);
    assert_eq!(owned, vec!["a"]);
    assert_eq!(out, "a");
    assert_eq!(text, whole);
    assert_eq!(back, out.to_lowercase() + &out.to_uppercase());
    assert_eq!(letter.to_digit(10).unwrap(), 1);
    assert!(letter.is_alphabetic() && letter.is_uppercase() && letter.is_lowercase() && letter.is_numeric());
    text.replace("a", "b")
}
