//! The one way of running SQL: connections that write each statement in the dialect of their database. What is translated is
//! kept, so a statement is translated once; SQLite's pass as they are.

use super::dialect::Dialect;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, AssertSqlSafe, Describe, Either, Execute, Executor, SqlSafeStr, SqlStr};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Translates statements and keeps what came of it.
#[derive(Debug)]
struct Translator {
    dialect: Dialect,
    known: RwLock<HashMap<SqlStr, Arc<str>>>,
}

impl Translator {
    fn translate<'q, E: Execute<'q, Any>>(&self, mut query: E) -> Result<Translated, sqlx::Error> {
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        let persistent = query.persistent();
        let sql = query.sql();
        let sql = match self.dialect {
            Dialect::Sqlite => sql,
            // What differs every time would only fill the memory.
            dialect if !persistent => AssertSqlSafe(dialect.translate(sql.as_str())).into_sql_str(),
            _ => self.known(sql),
        };
        Ok(Translated {
            sql,
            arguments,
            persistent,
        })
    }

    fn known(&self, sql: SqlStr) -> SqlStr {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(translated) = known.get(&sql) {
            return AssertSqlSafe(translated.clone()).into_sql_str();
        }
        drop(known);
        let translated: Arc<str> = self.dialect.translate(sql.as_str()).into();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(sql, translated.clone());
        AssertSqlSafe(translated).into_sql_str()
    }
}

/// A statement as it is sent.
struct Translated {
    sql: SqlStr,
    arguments: Option<AnyArguments>,
    persistent: bool,
}

impl Execute<'_, Any> for Translated {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&AnyStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<AnyArguments>, sqlx::error::BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

/// Connections to one database.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pool: AnyPool,
    translator: Arc<Translator>,
}

impl Pool {
    /// Statements to `pool` are written in `dialect`.
    pub(super) fn new(pool: AnyPool, dialect: Dialect) -> Self {
        let translator = Translator {
            dialect,
            known: RwLock::default(),
        };
        Self {
            pool,
            translator: Arc::new(translator),
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.translator.dialect
    }

    /// The connections themselves, for statements that need no translation.
    pub(super) fn raw(&self) -> &AnyPool {
        &self.pool
    }

    /// A connection for more than one statement.
    pub(super) async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        Ok(Connection {
            connection: self.pool.acquire().await?,
            translator: self.translator.clone(),
        })
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// One connection to the database.
#[derive(Debug)]
pub(crate) struct Connection {
    connection: PoolConnection<Any>,
    translator: Arc<Translator>,
}

impl Connection {
    pub(super) fn dialect(&self) -> Dialect {
        self.translator.dialect
    }

    /// Has the pool take another one in its place.
    pub(super) fn close_when_given_back(&mut self) {
        self.connection.close_on_drop();
    }
}

/// A failure as a stream or future that yields it.
macro_rules! or_fail {
    ($translated:expr) => {
        match $translated {
            Ok(translated) => translated,
            Err(error) => return Box::pin(futures::future::ready(Err(error))),
        }
    };
}

/// Runs statements on the field `inner` once they are translated.
macro_rules! translate_for {
    ($executor:ty, $inner:ident) => {
        impl<'c> Executor<'c> for $executor {
            type Database = Any;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>>
            where
                'c: 'e,
                E: 'q + Execute<'q, Any>,
            {
                match self.translator.translate(query) {
                    Ok(query) => self.$inner.fetch_many(query),
                    Err(error) => Box::pin(futures::stream::once(futures::future::ready(Err(error)))),
                }
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
            where
                'c: 'e,
                E: 'q + Execute<'q, Any>,
            {
                self.$inner
                    .fetch_optional(or_fail!(self.translator.translate(query)))
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [AnyTypeInfo],
            ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
            where
                'c: 'e,
            {
                self.$inner.prepare_with(sql, parameters)
            }

            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, sqlx::Error>>
            where
                'c: 'e,
            {
                self.$inner.describe(sql)
            }
        }
    };
}

translate_for!(&'c Pool, pool);
translate_for!(&'c mut Connection, connection);
