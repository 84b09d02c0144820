//! Sets of completion indexes, as the status writes them: `0,2-5,7`.

use std::fmt;

/// Sorted, disjoint intervals that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes(Vec<(i64, i64)>);

impl Indexes {
    /// What cannot be read, or is not below `limit`, is left out.
    pub fn parse(text: &str, limit: i64) -> Indexes {
        let mut indexes = Indexes::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>())
                && first < limit
            {
                indexes.insert_range(first, last.min(limit - 1));
            }
        }
        indexes
    }

    pub fn insert(&mut self, index: i64) {
        self.insert_range(index, index);
    }

    fn insert_range(&mut self, first: i64, last: i64) {
        let at = self.0.partition_point(|(_, end)| *end + 1 < first);
        let end = self.0.partition_point(|(start, _)| *start <= last + 1).max(at);
        let merged = self.0[at..end].iter().fold((first, last), |(a, b), (c, d)| (a.min(*c), b.max(*d)));
        self.0.splice(at..end, [merged]);
    }

    pub fn has(&self, index: i64) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < index);
        self.0.get(at).is_some_and(|(start, _)| *start <= index)
    }

    pub fn total(&self) -> i64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// How many are in both.
    pub fn common(&self, other: &Indexes) -> i64 {
        let overlap = |a: &(i64, i64), b: &(i64, i64)| (a.1.min(b.1) - a.0.max(b.0) + 1).max(0);
        self.0.iter().map(|a| other.0.iter().map(|b| overlap(a, b)).sum::<i64>()).sum()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.0.iter().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Indexes;

    #[test]
    fn written_as_upstream_writes_them() {
        for (inserted, text) in [
            (&[3, 1, 2][..], "1-3"),
            (&[0, 1], "0,1"),
            (&[5, 0, 7, 6, 9], "0,5-7,9"),
            (&[], ""),
            (&[4, 4, 2, 3], "2-4"),
        ] {
            let mut indexes = Indexes::default();
            inserted.iter().for_each(|index| indexes.insert(*index));
            assert_eq!(indexes.to_string(), text);
            assert_eq!(Indexes::parse(text, 100), indexes);
            assert!(inserted.iter().all(|index| indexes.has(*index)), "{text}");
            assert!(!indexes.has(8) && !indexes.has(-1), "{text}");
        }
        assert_eq!(Indexes::parse("0-9,20", 5).to_string(), "0-4");
        assert_eq!(Indexes::parse("0-4,8", 10).common(&Indexes::parse("3-8", 10)), 3);
    }
}
