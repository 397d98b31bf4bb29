//! Single rows by their id, within a batch.

use super::Batch;

/// Whether a row of that id is there.
pub(super) async fn exists(batch: &mut Batch, sql: &'static str, id: i64) -> Result<bool, sqlx::Error> {
    let row: Option<(i64,)> = sqlx::query_as(sql)
        .bind(id)
        .fetch_optional(batch.connection())
        .await?;
    Ok(row.is_some())
}

/// Deletes the row of that id; whether it was there.
pub(super) async fn delete(batch: &mut Batch, sql: &'static str, id: i64) -> Result<bool, sqlx::Error> {
    let deleted = sqlx::query(sql).bind(id).execute(batch.connection()).await?;
    Ok(deleted.rows_affected() > 0)
}
