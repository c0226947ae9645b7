/// Items of one of two iterators.
pub(crate) enum Either<A, B> {
    Cached(A),
    Stored(B),
}

impl<A: Iterator, B: Iterator<Item = A::Item>> Iterator for Either<A, B> {
    type Item = A::Item;

    #[inline]
    fn next(&mut self) -> Option<A::Item> {
        match self {
            Self::Cached(items) => items.next(),
            Self::Stored(items) => items.next(),
        }
    }
}
