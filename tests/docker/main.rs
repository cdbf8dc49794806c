//! What only a real Docker Engine can show. Fails, saying so, where there is none.
