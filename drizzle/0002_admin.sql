DROP INDEX "order_items_of_product";--> statement-breakpoint
ALTER TABLE "order_items" ADD COLUMN "created_at" timestamp (3) with time zone;--> statement-breakpoint
UPDATE "order_items" SET "created_at" = "orders"."created_at" FROM "orders" WHERE "orders"."id" = "order_items"."order_id";--> statement-breakpoint
ALTER TABLE "order_items" ALTER COLUMN "created_at" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "products" ADD COLUMN "shelf" text;--> statement-breakpoint
ALTER TABLE "products" ADD COLUMN "terms_version" integer DEFAULT 1 NOT NULL;--> statement-breakpoint
ALTER TABLE "products" ADD COLUMN "loaded_version" integer DEFAULT 1 NOT NULL;--> statement-breakpoint
ALTER TABLE "products" ADD COLUMN "terms_changed_at" timestamp (3) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
CREATE INDEX "order_items_by_product" ON "order_items" USING btree ("product_id","created_at" DESC NULLS LAST,"order_id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "orders_by_payment_status" ON "orders" USING btree ("payment_status","created_at" DESC NULLS LAST,"id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "orders_by_order_status" ON "orders" USING btree ("order_status","created_at" DESC NULLS LAST,"id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "payments_newest" ON "payments" USING btree ("created_at" DESC NULLS LAST,"idempotency_key" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "products_of_shelf" ON "products" USING btree ("shelf") WHERE "products"."shelf" is not null;--> statement-breakpoint
CREATE INDEX "products_to_load" ON "products" USING btree ("id") WHERE "products"."loaded_version" < "products"."terms_version";